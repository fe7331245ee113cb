package story

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"clockarbiter/configs"
)

func TestTheSupervisorAcceptsTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clockarbiter.toml")
	text := configuration("/run/world/clockarbiter", "gm", domain,
		map[string]string{"ptp4l": "/usr/sbin/ptp4l", "chronyd": "/usr/sbin/chronyd"},
		[]netip.Addr{netip.MustParseAddr("10.77.2.1"), netip.MustParseAddr("10.77.3.1")})
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(cfg.NTP.Servers) != 2 || len(cfg.PTP.Interfaces) != 1 || cfg.Clock.Driver != "virtual" ||
		time.Duration(cfg.Clock.Virtual.InitialOffset) != initialOffset {
		t.Errorf("the configuration means something else: %+v", cfg)
	}
}
