package vm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

// agent is the connection to guest/agent.
type agent struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialAgent(path string) (*agent, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the guest's agent: %w", err)
	}
	return &agent{conn: conn, r: bufio.NewReader(conn)}, nil
}

// run is the request to run a shell script in the guest, which answers with its output and exit status.
func run(script string) []byte { return fmt.Appendf(nil, "run %d\n%s", len(script), script) }

// put is the request to write a file in the guest, which answers with status 0 or what is wrong.
func put(path string, mode uint32, content []byte) []byte {
	return append(fmt.Appendf(nil, "put %o %d %s\n", mode, len(content), path), content...)
}

// buffered is how much of a request waits in a socket, however small its buffer, until the guest runs.
const buffered = 4096

// do sends a request to a guest that resume sets going, and reads the answer, which must be complete within limit. An idle
// guest's time races: the request is there before it runs.
func (a *agent) do(request []byte, resume func() error, limit time.Duration) (output string, status int, err error) {
	if err := a.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", 0, fmt.Errorf("ask the guest: %w", err)
	}
	first := min(buffered, len(request))
	if _, err := a.conn.Write(request[:first]); err != nil {
		return "", 0, fmt.Errorf("ask the guest: %w", err)
	}
	if err := resume(); err != nil {
		return "", 0, err
	}
	if _, err := a.conn.Write(request[first:]); err != nil {
		return "", 0, fmt.Errorf("ask the guest: %w", err)
	}
	return a.answer()
}

// answer reads an answer.
func (a *agent) answer() (output string, status int, err error) {
	var out bytes.Buffer
	for {
		var kind byte
		var n int
		line, err := a.r.ReadString('\n')
		if err != nil {
			return out.String(), 0, fmt.Errorf("the guest's answer: %w", err)
		}
		if _, err := fmt.Sscanf(line, "%c %d\n", &kind, &n); err != nil {
			return out.String(), 0, fmt.Errorf("the guest's answer %q: %w", line, err)
		}
		if kind == 'x' {
			return out.String(), n, nil
		}
		if _, err := io.CopyN(&out, a.r, int64(n)); err != nil {
			return out.String(), 0, fmt.Errorf("the guest's answer: %w", err)
		}
	}
}
