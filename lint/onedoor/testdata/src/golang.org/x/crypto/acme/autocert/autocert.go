// Package autocert stands in for the library of that name.
package autocert

type Manager struct{}
