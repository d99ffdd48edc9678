// Package acme stands in for the library of that name.
package acme

import "net/http"

type Client struct {
	DirectoryURL string
	HTTPClient   *http.Client
}
