package watch

// PID is the observer's process number.
func (w *Watch) PID() int { return w.cmd.Process.Pid }
