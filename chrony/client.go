package chrony

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	fbchrony "github.com/facebook/time/ntp/chrony"
)

// The defaults of a Client. chronyd answers within a millisecond, a dump within ten; a second means
// that it hangs or is gone.
const (
	defaultReplyTimeout = time.Second
	attempts            = 2
)

// maxSources bounds the list of sources; a larger number is a garbled reply.
const maxSources = 10000

// Client talks to chronyd over its Unix socket. It dials when it has to, so that a chronyd that was
// restarted is met again at the next command. A Client belongs to one goroutine.
type Client struct {
	remote, local string
	timeout       time.Duration
	conn          *net.UnixConn
	sequence      uint32
	buffer        [replyBuffer]byte
}

// NewClient returns a client of the chronyd that listens on remote. local is the client's own end:
// chronyd answers to it, so that it must lie in a directory that chronyd may search. What stands at
// local is replaced.
func NewClient(remote, local string) *Client {
	return &Client{remote: remote, local: local, timeout: defaultReplyTimeout}
}

// Close releases the socket. The client may be used again.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	err := errors.Join(c.conn.Close(), os.Remove(c.local))
	c.conn = nil
	return err
}

// dial binds local, lets chronyd's user write to it, and connects it to remote.
func (c *Client) dial() error {
	if c.conn != nil {
		return nil
	}
	if err := os.Remove(c.local); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace socket: %w", err)
	}
	conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: c.local, Net: "unixgram"}, &net.UnixAddr{Name: c.remote, Net: "unixgram"})
	if err != nil {
		_ = os.Remove(c.local) // bound or not: the error that matters is the one above
		return err
	}
	// The directory keeps others out; chronyd's user is not ours.
	if err := os.Chmod(c.local, 0o666); err != nil {
		conn.Close()
		return err
	}
	c.conn = conn
	return nil
}

// do sends a command and returns its reply, valid until the next command. A transport error or
// silence is met by dialling again once; a *StatusError is chronyd's answer and final.
func (c *Client) do(ctx context.Context, cmd command, body []byte) ([]byte, error) {
	var err error
	for range attempts {
		var reply []byte
		if reply, err = c.try(ctx, cmd, body); err == nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			err = ctx.Err()
			break
		}
		var refused *StatusError
		if errors.As(err, &refused) {
			break
		}
		c.Close() // whatever is wrong with this socket, the next one is new
	}
	return nil, fmt.Errorf("chronyd %s: %w", cmd, err)
}

// try is one exchange. Datagrams that answer something else are passed over until the deadline.
func (c *Client) try(ctx context.Context, cmd command, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.dial(); err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // wakes the read below; a closed socket needs no waking
	})
	defer stop()

	c.sequence++
	if _, err := c.conn.Write(encodeRequest(cmd, c.sequence, body)); err != nil {
		return nil, err
	}
	for {
		n, err := c.conn.Read(c.buffer[:])
		if err != nil {
			return nil, err
		}
		err = checkReply(c.buffer[:n], cmd, c.sequence)
		if errors.Is(err, errForeign) {
			continue
		}
		return c.buffer[:n], err
	}
}

// mutate sends a command whose answer is a status alone.
func (c *Client) mutate(ctx context.Context, cmd command, body []byte) error {
	reply, err := c.do(ctx, cmd, body)
	if err != nil {
		return err
	}
	if t := replyType(reply); t != replyNull {
		return fmt.Errorf("chronyd %s: reply type %d, want %d", cmd, t, replyNull)
	}
	return nil
}

// query sends a command and decodes its answer.
func query[T any](ctx context.Context, c *Client, cmd command, body []byte, decode func([]byte) (T, error)) (T, error) {
	reply, err := c.do(ctx, cmd, body)
	if err != nil {
		var none T
		return none, err
	}
	value, err := decode(reply)
	if err != nil {
		return value, fmt.Errorf("chronyd %s: %w", cmd, err)
	}
	return value, nil
}

// Dump makes chronyd write its samples to its dump directory. They are there when it returns.
func (c *Client) Dump(ctx context.Context) error { return c.mutate(ctx, cmdDump, nil) }

// Refresh makes chronyd resolve the names of its sources again.
func (c *Client) Refresh(ctx context.Context) error { return c.mutate(ctx, cmdRefresh, nil) }

// Online and Offline start and stop the polling of a source, or of all with the zero Address.
func (c *Client) Online(ctx context.Context, a Address) error {
	return c.mutate(ctx, cmdOnline, maskAndAddress(a))
}

// Offline stops the polling; see Online.
func (c *Client) Offline(ctx context.Context, a Address) error {
	return c.mutate(ctx, cmdOffline, maskAndAddress(a))
}

// Burst asks for up to good usable replies with at most total requests, from one source or from all
// with the zero Address.
func (c *Client) Burst(ctx context.Context, a Address, good, total int) error {
	body := binary.BigEndian.AppendUint32(maskAndAddress(a), uint32(good))
	return c.mutate(ctx, cmdBurst, binary.BigEndian.AppendUint32(body, uint32(total)))
}

// maskAndAddress selects exactly one address, or everything when there is none.
func maskAndAddress(a Address) []byte {
	mask := Address{}.encode()
	if a.Resolved() {
		mask = a.encode()
		for i := range a.IP.AsSlice() {
			mask[i] = 0xff
		}
	}
	return append(mask, a.encode()...)
}

// Sources returns all sources, in chronyd's order. One that vanishes meanwhile is left out.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	count, err := query(ctx, c, cmdNSources, nil, decode[*fbchrony.ReplySources])
	if err != nil {
		return nil, err
	}
	if count.NSources > maxSources {
		return nil, fmt.Errorf("chronyd sources: %d sources", count.NSources)
	}
	var all []Source
	for i := range count.NSources {
		s, err := query(ctx, c, cmdSourceData, binary.BigEndian.AppendUint32(nil, uint32(i)), decodeSource)
		if isVanished(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// isVanished reports whether chronyd no longer knows the source that it was asked about.
func isVanished(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.Status == StatusNoSuchSource
}

// SourceName returns the name by which a source was configured.
func (c *Client) SourceName(ctx context.Context, a Address) (string, error) {
	r, err := query(ctx, c, cmdSourceName, a.encode(), decode[*fbchrony.ReplyNTPSourceName])
	if err != nil {
		return "", err
	}
	return r.Name, nil
}

// NTPData returns what chronyd keeps of the last packet of a source.
func (c *Client) NTPData(ctx context.Context, a Address) (NTPData, error) {
	return query(ctx, c, cmdNTPData, a.encode(), decodeNTPData)
}

// AuthData returns the state of a source's authentication.
func (c *Client) AuthData(ctx context.Context, a Address) (AuthData, error) {
	return query(ctx, c, cmdAuthData, a.encode(), decodeAuthData)
}

// Tracking returns the state of chronyd's own clock. Its CurrentCorrection, in seconds, is
// CLOCK_REALTIME - chronyd's clock, positive: the system clock is fast; with the rendered
// configuration it is 0.
func (c *Client) Tracking(ctx context.Context) (fbchrony.Tracking, error) {
	r, err := query(ctx, c, cmdTracking, nil, decode[*fbchrony.ReplyTracking])
	if err != nil {
		return fbchrony.Tracking{}, err
	}
	return r.Tracking, nil
}

// Activity returns how many sources are online, offline and unresolved.
func (c *Client) Activity(ctx context.Context) (fbchrony.Activity, error) {
	r, err := query(ctx, c, cmdActivity, nil, decode[*fbchrony.ReplyActivity])
	if err != nil {
		return fbchrony.Activity{}, err
	}
	return r.Activity, nil
}

// SourceStats returns chronyd's own regression of the source with this index in Sources. It is
// fitted over a history that a step or slew of the system clock bends: for people only.
func (c *Client) SourceStats(ctx context.Context, index int) (fbchrony.SourceStats, error) {
	r, err := query(ctx, c, cmdSourceStats, binary.BigEndian.AppendUint32(nil, uint32(index)), decode[*fbchrony.ReplySourceStats])
	if err != nil {
		return fbchrony.SourceStats{}, err
	}
	return r.SourceStats, nil
}

// SelectData returns chronyd's own verdict on the source with this index in Sources.
func (c *Client) SelectData(ctx context.Context, index int) (fbchrony.SelectData, error) {
	r, err := query(ctx, c, cmdSelectData, binary.BigEndian.AppendUint32(nil, uint32(index)), decode[*fbchrony.ReplySelectData])
	if err != nil {
		return fbchrony.SelectData{}, err
	}
	return r.SelectData, nil
}
