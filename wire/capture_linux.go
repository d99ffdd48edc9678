package wire

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNoCapture is returned where this process may not read packets: it takes CAP_NET_RAW in the user namespace
// that owns the network namespace.
var ErrNoCapture = errors.New("this process may not read packets (CAP_NET_RAW)")

// The ring of a capture (packet_mmap(7), TPACKET_V3): 16 MiB in 64 blocks. A packet fits a block, so that none is cut.
const (
	blockSize   = 256 << 10
	blockCount  = 64
	blockRetire = 5 * time.Millisecond // a block is handed over when full, or this long after its first packet
)

// blockFlush is long enough for the kernel to hand over a block that is not full, whose timer counts in ticks.
const blockFlush = 8 * blockRetire

// Frame is one packet as a network interface saw it, link-layer header included. Data is valid only until the
// function that got it returns.
type Frame struct {
	Time     time.Time
	Outgoing bool // sent by this side of the interface
	Length   int  // in octets on the wire; more than len(Data) if the packet was cut
	Data     []byte

	Interface int    // its index
	Protocol  uint16 // an Ethernet type (IEEE 802), of what follows the link-layer header
}

// CaptureSocket reads every packet that crosses one network interface, in both directions.
type CaptureSocket struct {
	fd      int
	wake    *os.File // closed to end Read
	waker   *os.File
	ring    []byte
	next    int
	dropped atomic.Uint64
}

// OpenCapture starts to read packets at the interface with this index, in the calling thread's network namespace.
// What crosses the interface after it returns is in the ring.
func OpenCapture(ifindex int) (*CaptureSocket, error) {
	return openCapture(unix.SOCK_RAW, ifindex)
}

// OpenCaptureEverywhere is OpenCapture for every interface, also for those that come later. As these are of many kinds, the packets
// begin behind their link-layer headers, and Frame says what follows. Nothing can be sent by it: it has no interface.
func OpenCaptureEverywhere() (*CaptureSocket, error) {
	return openCapture(unix.SOCK_DGRAM, 0)
}

func openCapture(kind, ifindex int) (*CaptureSocket, error) {
	// Protocol 0 reads nothing until bind gives the interface: otherwise packets of other interfaces come first.
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("wire: capture: %w", ErrNoCapture)
	}
	if err != nil {
		return nil, fmt.Errorf("wire: capture: %w", err)
	}
	c := &CaptureSocket{fd: fd}
	if err := c.start(ifindex); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("wire: capture: %w", err)
	}
	return c, nil
}

func (c *CaptureSocket) start(ifindex int) (err error) {
	if c.wake, c.waker, err = os.Pipe(); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	req := unix.TpacketReq3{
		Block_size: blockSize, Block_nr: blockCount,
		Frame_size: 2048, Frame_nr: blockSize / 2048 * blockCount,
		Retire_blk_tov: uint32(blockRetire / time.Millisecond),
	}
	if err := unix.SetsockoptTpacketReq3(c.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	c.ring, err = unix.Mmap(c.fd, 0, blockSize*blockCount, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	at := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}
	return unix.Bind(c.fd, &at)
}

// Read waits for packets and gives each to fn, in order. It returns nil after Interrupt.
func (c *CaptureSocket) Read(fn func(Frame)) error {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}, {Fd: int32(c.wake.Fd()), Events: unix.POLLIN}}
	for {
		if c.readBlock(fn) {
			continue
		}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wire: capture: %w", err)
		}
		if fds[1].Revents != 0 {
			time.Sleep(blockFlush)
			for c.readBlock(fn) {
			}
			c.countDropped()
			return nil
		}
		if fds[0].Revents&unix.POLLERR != 0 {
			// Reading the error clears it. An interface that is down is no error: it may come up (again).
			code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code != 0 && syscall.Errno(code) != unix.ENETDOWN {
				err = syscall.Errno(code)
			}
			if err != nil {
				return fmt.Errorf("wire: capture: %w", err)
			}
		}
	}
}

// readBlock gives the packets of the next block to fn, and the block back to the kernel. It reports whether there
// was one.
func (c *CaptureSocket) readBlock(fn func(Frame)) bool {
	block := c.ring[c.next*blockSize : (c.next+1)*blockSize]
	header := (*unix.TpacketBlockDesc)(unsafe.Pointer(&block[0]))
	v1 := (*unix.TpacketHdrV1)(unsafe.Pointer(&header.Hdr[0]))
	if atomic.LoadUint32(&v1.Block_status)&unix.TP_STATUS_USER == 0 {
		return false
	}
	at := v1.Offset_to_first_pkt
	for range v1.Num_pkts {
		p := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[at]))
		from := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&block[at+tpacketAlign(unix.SizeofTpacket3Hdr)]))
		start := at + uint32(p.Mac)
		fn(Frame{
			Time:     time.Unix(int64(p.Sec), int64(p.Nsec)),
			Outgoing: from.Pkttype == unix.PACKET_OUTGOING,
			Length:   int(p.Len),
			Data:     block[start : start+p.Snaplen],

			Interface: int(from.Ifindex),
			Protocol:  htons(from.Protocol),
		})
		at += p.Next_offset
	}
	atomic.StoreUint32(&v1.Block_status, unix.TP_STATUS_KERNEL)
	c.next = (c.next + 1) % blockCount
	return true
}

// countDropped adds what the kernel could not put into the ring; reading the number resets it.
func (c *CaptureSocket) countDropped() {
	stats, err := unix.GetsockoptTpacketStatsV3(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil {
		c.dropped.Add(uint64(stats.Drops))
	}
}

// Dropped counts the packets that were not read because the reader was too slow. It is final once Read returned.
// Anything but 0 means that the capture proves nothing.
func (c *CaptureSocket) Dropped() uint64 { return c.dropped.Load() }

// Interrupt makes Read return after the packets that have already crossed the interface.
func (c *CaptureSocket) Interrupt() { _ = c.waker.Close() }

// Close frees the ring. Read must have returned.
func (c *CaptureSocket) Close() error {
	if c.ring != nil {
		_ = unix.Munmap(c.ring)
		c.ring = nil
	}
	if c.wake != nil {
		_ = c.wake.Close()
		_ = c.waker.Close()
	}
	return unix.Close(c.fd)
}

// SendFrame puts one frame, link-layer header included, on the interface with this index, in the calling thread's
// network namespace. A capture sends a marker so, to learn that it has read everything that came before.
func SendFrame(ifindex int, frame []byte) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("wire: send frame: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifindex}); err != nil {
		return fmt.Errorf("wire: send frame: %w", err)
	}
	return nil
}

// tpacketAlign is TPACKET_ALIGN of linux/if_packet.h.
func tpacketAlign(n uint32) uint32 {
	return (n + unix.TPACKET_ALIGNMENT - 1) &^ (unix.TPACKET_ALIGNMENT - 1)
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }
