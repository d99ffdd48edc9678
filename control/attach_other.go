//go:build !linux

package control

// addAttach adds nothing: programs are contained on Linux alone.
func (s *Server) addAttach(paths) {}
