// Package netstack stands in for the library of that name.
package netstack

// Net is a network.
type Net struct{}
