package ptp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/facebook/time/ptp/protocol"
)

// Client talks to one ptp4l over its Unix datagram socket. One goroutine reads; replies are matched
// by sequence, identifier and port, so that a late reply, a notification or a stranger's datagram
// is never taken for an answer. A restarted ptp4l answers the same Client, because each request is
// sent to the path anew. Safe for concurrent use.
type Client struct {
	conn   *net.UnixConn
	remote *net.UnixAddr
	path   string
	domain uint8
	log    *slog.Logger

	notifyC chan Message
	done    chan struct{}

	mu       sync.Mutex
	sequence uint16
	pending  map[uint16]*request
	closed   error
}

type request struct {
	id     protocol.ManagementID
	port   uint16
	replyC chan reply // capacity 1: the reader never waits
}

type reply struct {
	message Message
	err     error
}

// notificationBacklog is how many unasked messages are kept; more are dropped.
const notificationBacklog = 16

// maxDatagram holds the largest management message of ptp4l with room to spare.
const maxDatagram = 4096

// DialManagement binds path for the answers and addresses the ptp4l at remote, which need not exist
// yet. The socket is writable for everybody, because ptp4l runs as another user; the directory
// around it is private.
func DialManagement(path, remote string, domain uint8, log *slog.Logger) (*Client, error) {
	conn, err := listenUnixgram(path)
	if err != nil {
		return nil, fmt.Errorf("management socket: %w", err)
	}
	c := &Client{
		conn:     conn,
		remote:   &net.UnixAddr{Name: remote, Net: "unixgram"},
		path:     path,
		domain:   domain,
		log:      log,
		notifyC:  make(chan Message, notificationBacklog),
		done:     make(chan struct{}),
		sequence: uint16(rand.Uint32()),
		pending:  map[uint16]*request{},
	}
	go c.read()
	return c, nil
}

// listenUnixgram binds a Unix datagram socket, replacing what a predecessor left behind.
func listenUnixgram(path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Notifications delivers messages that nobody asked for. It is closed with the Client.
func (c *Client) Notifications() <-chan Message { return c.notifyC }

// Close ends every waiting request and removes the socket.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	if rm := os.Remove(c.path); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Get reads one data set of one port. port counts from 1; data sets of the clock as a whole answer
// for any port. The wait ends with ctx. Errors: a *StatusError when ptp4l refused, the context's
// when it did not answer, ENOENT or ECONNREFUSED when it is not there.
func (c *Client) Get(ctx context.Context, port uint16, id protocol.ManagementID) (Message, error) {
	return c.request(ctx, protocol.GET, port, id, nil)
}

// Subscribe asks for a notification of each change of a port's state and, from 4.0 on, of the
// parent, for whole seconds. It has to be renewed before they are over, and after a restart.
func (c *Client) Subscribe(ctx context.Context, d time.Duration) error {
	_, err := c.request(ctx, protocol.SET, 1, idSubscribeEventsNP, subscription(d))
	return err
}

func (c *Client) request(ctx context.Context, action protocol.Action, port uint16, id protocol.ManagementID, data []byte) (Message, error) {
	target := protocol.PortIdentity{ClockIdentity: anyClock, PortNumber: port}
	sequence, req, err := c.expect(port, id)
	if err != nil {
		return Message{}, err
	}
	defer c.forget(sequence)
	if err := c.send(ctx, encodeRequest(action, target, c.domain, sequence, id, data)); err != nil {
		return Message{}, err
	}
	select {
	case r := <-req.replyC:
		return r.message, r.err
	case <-ctx.Done():
		return Message{}, fmt.Errorf("no answer to management id 0x%04x: %w", uint16(id), ctx.Err())
	case <-c.done:
		return Message{}, c.closeError()
	}
}

func (c *Client) send(ctx context.Context, b []byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	_, err := c.conn.WriteToUnix(b, c.remote)
	return err
}

func (c *Client) expect(port uint16, id protocol.ManagementID) (uint16, *request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return 0, nil, c.closed
	}
	c.sequence++
	req := &request{id: id, port: port, replyC: make(chan reply, 1)}
	c.pending[c.sequence] = req
	return c.sequence, req, nil
}

func (c *Client) forget(sequence uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, sequence)
}

func (c *Client) closeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *Client) read() {
	defer close(c.done)
	defer close(c.notifyC)
	buf := make([]byte, maxDatagram)
	for {
		n, _, err := c.conn.ReadFromUnix(buf)
		if err != nil {
			c.mu.Lock()
			c.closed = fmt.Errorf("management socket: %w", err)
			c.mu.Unlock()
			return
		}
		m, err := parseManagement(append([]byte(nil), buf[:n]...))
		c.deliver(m, err)
	}
}

// deliver hands a reply to its request, a notification to the channel, and drops the rest.
func (c *Client) deliver(m Message, err error) {
	if req := c.match(m, err); req != nil {
		select {
		case req.replyC <- reply{m, err}:
		default: // a duplicate
		}
		return
	}
	if err != nil {
		c.log.Debug("management datagram dropped", "error", err)
		return
	}
	select {
	case c.notifyC <- m:
	default:
		c.log.Debug("management notification dropped", "management_id", uint16(m.ID))
	}
}

// match finds the request that m answers. A reply that is broken behind its header is matched by
// its sequence alone: its request would wait in vain.
func (c *Client) match(m Message, err error) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := c.pending[m.Sequence]
	if req == nil {
		return nil
	}
	if errors.Is(err, errTruncated) {
		return req
	}
	if m.ID != req.id || !answersPort(m, req.port) {
		return nil
	}
	if err == nil && m.Action != protocol.RESPONSE {
		return nil
	}
	return req
}

// answersPort: data sets of a port come from that port; those of the clock, and refusals, come from
// port 0, ptp4l's own.
func answersPort(m Message, port uint16) bool {
	return m.Source.PortNumber == port || m.Source.PortNumber == 0
}
