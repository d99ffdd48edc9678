// Package dns stands in for the library of that name.
package dns

type Msg struct{ ID uint16 }

type Client struct{ Net string }

func (c *Client) Exchange(m *Msg, address string) (*Msg, error) { return m, nil }

type Server struct{ Addr string }

func (s *Server) ListenAndServe() error { return nil }

func Exchange(m *Msg, address string) (*Msg, error) { return new(Client).Exchange(m, address) }

func ClientConfigFromFile(path string) (any, error) { return path, nil }
