package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"clockarbiter/clock"
	"clockarbiter/configs"
	"clockarbiter/sources"
	"clockarbiter/supervisor/checkpoint"
)

const (
	// releaseLeastPPB is the least slew that is worth a write: what the servo does within its noise, in ns/s.
	releaseLeastPPB = 5
	// maxLeftSlewPPB is the fastest slew that a supervisor can have left.
	maxLeftSlewPPB = 500_000
)

// ReleaseClock ends a slew that a killed supervisor left running, and returns what it did. The frequency
// becomes what keeps the rate of the last target, as after an orderly end; nothing else is changed. Where a
// supervisor runs, where the clock is not the kernel's, and where nothing was left, it does nothing.
func ReleaseClock(cfg *configs.Config, version string) (string, error) {
	if cfg.Clock.Driver != "kernel" {
		return "nothing to release: the driver is " + cfg.Clock.Driver, nil
	}
	unlock, err := lock(cfg.Paths.RunDir)
	if err != nil {
		return "", fmt.Errorf("release the clock: %w", err)
	}
	defer unlock()
	c, err := checkpoint.Load(filepath.Join(cfg.Paths.RunDir, checkpoint.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return "nothing to release: no supervisor left anything", nil
	}
	if err != nil {
		return "", fmt.Errorf("release the clock: %w", err)
	}
	host, err := clock.NewHost()
	if err != nil {
		return "", fmt.Errorf("release the clock: %w", err)
	}
	if err := c.Check(present(cfg, version, host)); err != nil {
		return "nothing to release: " + err.Error(), nil
	}
	return release(clock.NewSystem(host), c)
}

// release sets the frequency that keeps the rate without a slew.
func release(k clock.Kernel, c *checkpoint.Checkpoint) (string, error) {
	rest, ok := c.Servo.ReleasePPB()
	if !ok {
		return "nothing to release: there was no target", nil
	}
	now, err := k.Read()
	if err != nil {
		return "", fmt.Errorf("release the clock: %w", err)
	}
	if math.Abs(now.FreqPPB-rest) < releaseLeastPPB {
		return "nothing to release: the clock is not slewed", nil
	}
	if math.Abs(now.FreqPPB-rest) > maxLeftSlewPPB {
		return fmt.Sprintf("not released: the frequency is %+.3f ppm, which we did not set", now.FreqPPB/1000), nil
	}
	err = k.Apply(clock.Command{
		FreqPPB: sources.Some(rest), Leap: now.Leap,
		Synchronised: now.Synchronised, MaxError: now.MaxError, EstError: now.EstError,
	})
	if err != nil {
		return "", fmt.Errorf("release the clock: %w", err)
	}
	return fmt.Sprintf("released: frequency %+.3f ppm, was %+.3f ppm", rest/1000, now.FreqPPB/1000), nil
}
