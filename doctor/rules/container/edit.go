package container

import (
	"bytes"

	"watertight/doctor"
	"watertight/doctor/read"
)

// withMember makes the edit that puts a member at the beginning of a file's object; nil if the file is no object, or has that member.
func withMember(f doctor.File, name, member string) *doctor.Change {
	n, err := read.ParseJSON(f.Data)
	open := bytes.IndexByte(f.Data, '{')
	if err != nil || n.Fields == nil || n.Get(name).There() || open < 0 {
		return nil
	}
	text := "\n  \"" + name + "\": " + member
	if len(n.Fields) > 0 {
		text += ","
	} else {
		text += "\n"
	}
	after := append(bytes.Clone(f.Data[:open+1]), text...)
	return doctor.NewChange(f, append(after, f.Data[open+1:]...))
}
