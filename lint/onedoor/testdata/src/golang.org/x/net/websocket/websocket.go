// Package websocket stands in for the library of that name.
package websocket

func Dial(url, protocol, origin string) (any, error) { return url + protocol + origin, nil }
