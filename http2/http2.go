// Package http2 is the server's end of one connection of HTTP/2 (RFC 9113), with extended CONNECT (RFC 8441).
//
// It promises what net/http's server does not give: a request says whether it is for http:// or https://, each direction of a
// stream ends by itself, and what :protocol asks for is served. All that it holds is bounded in number and octets, whoever does
// not take what is sent is made to wait, and nothing that it writes queues up. It opens no connection and looks nothing up.
package http2

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Sizes of frames and tables: the standard's own.
const (
	frameSize   = 16 << 10
	tableSize   = 4 << 10
	firstWindow = 65535
	maxWindow   = 1<<31 - 1
)

// Options are what a connection is served with. All of them are needed.
type Options struct {
	// Handler serves a request in a goroutine of its own. Its writer is a [Streamer].
	Handler http.Handler
	// MaxStreams is how many streams there may be at once.
	MaxStreams uint32
	// StreamBuffer is what may come of one stream that its handler has not taken yet, in octets. The connection has room for
	// that of every stream, so that none keeps the others waiting.
	StreamBuffer int
	// MaxHeader bounds the fields of a request, in octets.
	MaxHeader int
	// HeadTimeout bounds the time for the client's first settings.
	HeadTimeout time.Duration
	// IdleTimeout ends a connection without a request.
	IdleTimeout time.Duration
	// PingAfter and PingTimeout end a connection whose client has gone without a word.
	PingAfter, PingTimeout time.Duration
	// StallTimeout ends a connection whose client takes nothing of what is sent.
	StallTimeout time.Duration
}

func (o Options) validate() error {
	switch {
	case o.Handler == nil:
		return errors.New("http2: a connection needs a handler")
	case o.MaxStreams == 0, o.StreamBuffer <= 0, o.MaxHeader <= 0, int64(o.MaxStreams)*int64(o.StreamBuffer) > maxWindow:
		return errors.New("http2: a connection needs limits")
	case o.StreamBuffer < frameSize:
		return fmt.Errorf("http2: a stream needs room for a frame of %d octets", frameSize)
	case o.HeadTimeout <= 0, o.IdleTimeout <= 0, o.PingAfter <= 0, o.PingTimeout <= 0, o.StallTimeout <= 0:
		return errors.New("http2: a connection needs its times")
	}
	return nil
}

// Errors of a stream.
var (
	// ErrReset is a stream that the client has reset.
	ErrReset = errors.New("http2: the client reset the stream")
	// ErrEnded is a stream whose connection has ended.
	ErrEnded = errors.New("http2: the connection ended")
)

// Conn is one connection. Its methods may be called from many goroutines.
type Conn struct {
	o      Options
	conn   net.Conn
	framer *http2.Framer

	writing sync.Mutex
	out     *bufio.Writer
	fields  *hpack.Encoder
	block   bytes.Buffer // what fields writes to

	handlers sync.WaitGroup

	mu       sync.Mutex
	streams  map[uint32]*Stream
	serving  int    // handlers
	highest  uint32 // the highest stream that the client began
	last     uint32 // and that was looked at
	refused  uint32 // streams, one after the other
	idle     *time.Timer
	draining bool
	said     bool  // that we are draining
	ended    error // why nothing more is sent or received
	window   int64 // what may be sent
	initial  int64 // what may be sent of a new stream
	largest  int   // frame that may be sent
	taken    int   // octets whose room was not given back yet
}

// New makes the server's end of a connection, on which nothing was read yet.
func New(conn net.Conn, o Options) (*Conn, error) {
	if conn == nil {
		return nil, errors.New("http2: there is no connection")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Conn{o: o, conn: conn, streams: map[uint32]*Stream{}, window: firstWindow, initial: firstWindow, largest: frameSize}
	c.out = bufio.NewWriterSize(conn, frameSize+1024)
	c.fields = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(&patient{c}, 4096))
	c.framer.SetMaxReadFrameSize(frameSize)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	c.framer.MaxHeaderListSize = uint32(o.MaxHeader)
	c.idle = time.AfterFunc(o.HeadTimeout, func() { c.end(ErrEnded) })
	return c, nil
}

// Serve serves the client until its connection ends, and closes it. It returns when the last handler has. Ending ctx ends the
// contexts of requests.
func (c *Conn) Serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer c.handlers.Wait()
	defer cancel()
	c.end(c.talk(ctx))
}

// talk reads until the connection ends, and says why.
func (c *Conn) talk(ctx context.Context) error {
	err := c.write(func() error {
		settings := []http2.Setting{
			{ID: http2.SettingMaxConcurrentStreams, Val: c.o.MaxStreams},
			{ID: http2.SettingInitialWindowSize, Val: uint32(c.o.StreamBuffer)},
			{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.o.MaxHeader)},
			{ID: http2.SettingEnableConnectProtocol, Val: 1}, // RFC 8441, section 3
		}
		if err := c.framer.WriteSettings(settings...); err != nil {
			return err
		}
		if more := int64(c.o.MaxStreams)*int64(c.o.StreamBuffer) - firstWindow; more > 0 {
			return c.framer.WriteWindowUpdate(0, uint32(more))
		}
		return nil
	})
	if err != nil {
		return err
	}
	preface := make([]byte, len(http2.ClientPreface))
	in := &patient{c}
	if _, err := io.ReadFull(in, preface); err != nil || string(preface) != http2.ClientPreface {
		return ErrEnded
	}
	for first := true; ; first = false {
		head, f, err := c.read()
		settings, ok := f.(*http2.SettingsFrame)
		switch {
		case err == nil && first && (!ok || settings.IsAck()):
			err = http2.ConnectionError(http2.ErrCodeProtocol)
		case err == nil:
			if err = c.take(ctx, f); first && err == nil {
				c.calm()
			}
		case errors.Is(err, http2.ErrFrameTooLarge):
			err = http2.ConnectionError(http2.ErrCodeFrameSize)
		}
		var (
			ofStream http2.StreamError
			ofConn   http2.ConnectionError
		)
		switch {
		case errors.As(err, &ofStream):
			if head.Type == http2.FrameHeaders {
				c.began(ofStream.StreamID)
			}
			err = c.reset(ofStream.StreamID, ofStream.Code)
		case errors.As(err, &ofConn):
			_ = c.goAway(http2.ErrCode(ofConn))
			c.linger()
		}
		if err != nil {
			return err
		}
	}
}

// read reads a frame. What it is, its head says also where the rest is malformed.
func (c *Conn) read() (head http2.FrameHeader, f http2.Frame, err error) {
	if head, err = c.framer.ReadFrameHeader(); err == nil {
		f, err = c.framer.ReadFrameForHeader(head)
	}
	return head, f, err
}

// began notes a stream whose request was malformed: what else comes of it is passed over.
func (c *Conn) began(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > c.highest {
		c.highest = id
		if !c.said {
			c.last = id
		}
	}
}

// take does what a frame says. The error ends the connection.
func (c *Conn) take(ctx context.Context, f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeFields(ctx, f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f.StreamID, int64(f.Increment))
	case *http2.RSTStreamFrame:
		c.mu.Lock()
		s, idle := c.streams[f.StreamID], f.StreamID > c.highest
		c.mu.Unlock()
		if idle {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if s != nil {
			s.fail(ErrReset)
		}
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		switch {
		case !f.IsAck():
			return c.write(func() error { return c.framer.WritePing(true, f.Data) })
		case f.Data == drained && c.isDraining():
			c.turnAway()
		}
	case *http2.GoAwayFrame:
		c.Drain()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // what is not known is passed over (RFC 9113, section 5.5)
}

func (c *Conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	var tables []uint32 // all sizes count, not the last alone (RFC 7541, section 4.2)
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch s.ID {
		case http2.SettingHeaderTableSize:
			tables = append(tables, min(s.Val, tableSize))
		case http2.SettingMaxFrameSize:
			c.largest = int(min(s.Val, frameSize))
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, s := range c.streams {
				if s.window += more; s.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				s.poke()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.write(func() error {
		for _, size := range tables {
			c.fields.SetMaxDynamicTableSize(size)
		}
		return c.framer.WriteSettingsAck()
	})
}

func (c *Conn) takeWindow(id uint32, more int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 {
		if c.window += more; c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			s.poke()
		}
		return nil
	}
	s := c.streams[id]
	switch {
	case id > c.highest:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil:
		return nil // it ended a moment ago
	}
	if s.window += more; s.window > maxWindow {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	s.poke()
	return nil
}

// write lets f write frames, and sends them. What fails ends the connection.
func (c *Conn) write(f func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.o.StallTimeout))
	err := f()
	if err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		c.end(err)
	}
	return err
}

// reset ends a stream with a code, of which the client is told.
func (c *Conn) reset(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s != nil {
		s.fail(ErrReset)
	}
	return c.write(func() error { return c.framer.WriteRSTStream(id, code) })
}
