package leaktest

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html
var page string

// WriteHTML writes a report as one page that needs nothing else: no script, and nothing from elsewhere.
func (r *Report) WriteHTML(out io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"traffic": Path.traffic, "names": Path.names, "words": (*Report).inWords,
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(out, r)
}
