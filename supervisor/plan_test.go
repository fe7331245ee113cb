package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/golden"

	"clockarbiter/configs"
	"clockarbiter/ptp"
	"clockarbiter/sources"
)

// hostFacts are those of a host with one NIC that has a PHC on two ports, and one without.
func hostFacts() Facts {
	hardware := func(name string) InterfaceFacts {
		return InterfaceFacts{Name: name, Capabilities: ptp.Capabilities{
			Interface: name, HardwareTX: true, HardwareRX: true, RawHardware: true,
			SoftwareTX: true, SoftwareRX: true, Software: true,
			PHC: sources.Some(0), TXTypes: 1<<0 | 1<<1, RXFilters: 1<<0 | 1<<1,
		}}
	}
	return Facts{
		Chronyd:    Program{Path: "/usr/sbin/chronyd"},
		PTP4L:      Program{Path: "/usr/sbin/ptp4l", Version: "4.2"},
		ChronyUser: User{Name: "_chrony", UID: 102, GID: 105},
		PTPUser:    User{Name: "nobody", UID: 65534, GID: 65534},
		Interfaces: []InterfaceFacts{
			hardware("eth0"), hardware("eth1"),
			{Name: "veth0", Capabilities: ptp.Capabilities{Interface: "veth0", SoftwareTX: true, SoftwareRX: true, Software: true}},
			{Name: "eth9", Problem: `probe interface "eth9": no such network interface`},
		},
	}
}

func parse(t *testing.T, text string) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestPlanOfEachExample(t *testing.T) {
	examples, err := filepath.Glob("../configs/examples/*.toml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range examples {
		name := strings.TrimSuffix(filepath.Base(path), ".toml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			golden.Assert(t, NewPlan(parse(t, string(data)), hostFacts()).String(), "plan/"+name+".txt")
		})
	}
}

func TestPlanKeepsGoingAroundProblems(t *testing.T) {
	cfg := parse(t, `
[[ntp.server]]
address = "192.0.2.1"
[[ptp.interface]]
name = "eth9"
[[ptp.interface]]
name = "veth0"
timestamping = "hardware"
[[ptp.interface]]
name = "eth0"
`)
	facts := hostFacts()
	facts.Chronyd = Program{Path: "chronyd", Problem: "program chronyd is not there: install the package chrony, or set ntp.chronyd"}
	golden.Assert(t, NewPlan(cfg, facts).String(), "plan-problems.txt")
}

func TestPortsOfOnePHCShareAnEngineAndContradictingOnesDoNotRun(t *testing.T) {
	shared := parse(t, "[[ptp.interface]]\nname = \"eth0\"\n[[ptp.interface]]\nname = \"eth1\"\n")
	p := NewPlan(shared, hostFacts())
	if len(p.Children) != 1 || p.Children[0].Name != "ptp4l-eth0-0" || p.Children[0].Problem != "" {
		t.Errorf("children of a shared PHC: %v", p)
	}
	contradicting := parse(t, "[[ptp.interface]]\nname = \"eth0\"\n[[ptp.interface]]\nname = \"eth1\"\ndomain = 24\n")
	p = NewPlan(contradicting, hostFacts())
	if len(p.Children) != 2 || !strings.Contains(p.Children[0].Problem, "share /dev/ptp0") || p.Children[1].Problem == "" {
		t.Errorf("children of a PHC that two domains want:\n%v", p)
	}
}

func TestMaxAgeFollowsThePollInterval(t *testing.T) {
	cfg := parse(t, `
[[ntp.server]]
address = "fast.example.net"
minpoll = 0
maxpoll = 0
[[ntp.server]]
address = "slow.example.net"
[[ptp.interface]]
name = "eth0"
[[ptp.interface]]
name = "veth0"
options = { logSyncInterval = "-3" }
`)
	got := map[sources.ID]string{}
	for _, s := range NewPlan(cfg, hostFacts()).Sources {
		got[s.ID] = s.Options.MaxAge.String()
	}
	want := map[sources.ID]string{
		"ntp:fast.example.net": "8s", "ntp:slow.example.net": "51m12s", "ptp:eth0:0": "4s", "ptp:veth0:0": "2s",
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("max age of %s: %s, want %s", id, got[id], w)
		}
	}
}

func TestEveryChildIsWithoutTheRightToSetTheClock(t *testing.T) {
	examples, err := filepath.Glob("../configs/examples/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range examples {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range NewPlan(parse(t, string(data)), hostFacts()).Children {
			if slices.Contains(c.Capabilities, "CAP_SYS_TIME") || c.User.UID == 0 {
				t.Errorf("%s: child %s has user %s and capabilities %v", path, c.Name, c.User.Name, c.Capabilities)
			}
		}
	}
}
