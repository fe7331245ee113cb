package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"clockarbiter/clock"
)

// maxStrangerBytes bounds one order of a stranger.
const maxStrangerBytes = 128

// serveStranger lets a test move the virtual clock as a rival would move the kernel's, through a
// datagram socket: "step 1ms", "slew 0.1", "frequency -5" (ppm).
func serveStranger(ctx context.Context, path string, s clock.Stranger, log *slog.Logger) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Error("no stranger to the virtual clock", "error", err)
		return
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		log.Error("no stranger to the virtual clock", "error", err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, maxStrangerBytes)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return // closed with ctx
		}
		if err := strangerDoes(s, string(buf[:n])); err != nil {
			log.Warn("the stranger said nonsense", "error", err)
		}
	}
}

// strangerDoes carries out one order.
func strangerDoes(s clock.Stranger, order string) error {
	verb, value, _ := strings.Cut(strings.TrimSpace(order), " ")
	if verb == "step" {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("step: %w", err)
		}
		s.Step(d)
		return nil
	}
	ppm, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("%q: %w", verb, err)
	}
	switch verb {
	case "frequency":
		return s.SetFrequency(ppm * 1000)
	case "slew":
		return s.Slew(ppm * 1000)
	}
	return fmt.Errorf("unknown order %q", verb)
}
