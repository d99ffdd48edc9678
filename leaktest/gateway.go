package leaktest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"time"
)

// askGateway asks a gateway for the root of another host, in clear, and gives the status of its answer.
func askGateway(ctx context.Context, d Door, host string) (int, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(doorLimit)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, apiHead), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}
