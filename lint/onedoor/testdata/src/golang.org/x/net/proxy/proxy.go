// Package proxy stands in for the library of that name.
package proxy

var Direct any
