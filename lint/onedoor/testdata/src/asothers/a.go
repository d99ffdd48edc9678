// Package asothers goes around every channel, which it may not.
package asothers

import "watertight/wire"

func forbidden() {
	_, _ = wire.DialAsOthers() // want `wire.DialAsOthers: what is sent so goes around every channel, and is for the leak test alone; dial through the channel \(onedoor: asothers\)`
}

func allowed() error { return wire.DialAddr() }
