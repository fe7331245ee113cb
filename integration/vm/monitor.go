package vm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// monitor is a connection to QEMU's machine protocol (QMP).
type monitor struct {
	conn net.Conn
	r    *bufio.Reader
}

// monitorTimeout bounds one command; saving a snapshot writes the guest's memory.
const monitorTimeout = time.Minute

func dialMonitor(path string) (*monitor, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU's monitor: %w", err)
	}
	m := &monitor{conn: conn, r: bufio.NewReader(conn)}
	if _, err := m.r.ReadString('\n'); err != nil { // the greeting
		return nil, errors.Join(fmt.Errorf("read QEMU's greeting: %w", err), conn.Close())
	}
	if _, err := m.do("qmp_capabilities", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return m, nil
}

// do performs one command and returns its result. Events are passed over.
func (m *monitor) do(command string, arguments map[string]any) (json.RawMessage, error) {
	if err := m.conn.SetDeadline(time.Now().Add(monitorTimeout)); err != nil {
		return nil, fmt.Errorf("QEMU %s: %w", command, err)
	}
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("QEMU %s: %w", command, err)
	}
	for {
		line, err := m.r.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("QEMU %s: %w", command, err)
		}
		var reply struct {
			Return json.RawMessage
			Event  string
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &reply); err != nil {
			return nil, fmt.Errorf("QEMU %s: reply %q: %w", command, line, err)
		}
		switch {
		case reply.Event != "":
		case reply.Error != nil:
			return nil, fmt.Errorf("QEMU %s: %s", command, reply.Error.Desc)
		default:
			return reply.Return, nil
		}
	}
}

// human performs a command of the human monitor, which answers nothing when all is well.
func (m *monitor) human(line string) error {
	out, err := m.do("human-monitor-command", map[string]any{"command-line": line})
	if err != nil {
		return err
	}
	if s := string(out); s != `""` {
		return fmt.Errorf("QEMU %q: %s", line, s)
	}
	return nil
}
