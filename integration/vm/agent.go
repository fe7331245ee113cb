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

// run runs a shell script in the guest and returns its output and exit status.
func (a *agent) run(script string, limit time.Duration) (output string, status int, err error) {
	return a.do(fmt.Appendf(nil, "run %d\n%s", len(script), script), limit)
}

// put writes a file in the guest. The mode is octal.
func (a *agent) put(path string, mode uint32, content []byte, limit time.Duration) error {
	out, status, err := a.do(append(fmt.Appendf(nil, "put %o %d %s\n", mode, len(content), path), content...), limit)
	if err == nil && status != 0 {
		err = fmt.Errorf("put %s: %s", path, out)
	}
	return err
}

// do sends a request and reads the answer, which must be complete within limit.
func (a *agent) do(request []byte, limit time.Duration) (output string, status int, err error) {
	if err := a.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", 0, fmt.Errorf("ask the guest: %w", err)
	}
	if _, err := a.conn.Write(request); err != nil {
		return "", 0, fmt.Errorf("ask the guest: %w", err)
	}
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
