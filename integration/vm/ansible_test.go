package vm_test

import (
	"strings"
	"testing"
	"time"

	"clockarbiter/integration/vm"
)

// ansible installs as a user would: the role, over ssh, on a host whose clock has other owners.
func ansible(t *testing.T) {
	g := vm.Start(t, vm.Real)
	vm.NewWorld(t, g, vm.WorldOptions{NTPServers: 3, NoB: true})
	g.Put(t, "/usr/lib/systemd/system/systemd-timesyncd.service", 0o644, []byte("[Service]\nExecStart=/bin/sleep infinity\n"))
	g.Run(t, "systemctl daemon-reload; systemctl start systemd-timesyncd; systemctl enable -q --now chrony; apparmor_parser -r /etc/apparmor.d/usr.sbin.chronyd")
	c := vm.NewControl(t, g)
	servers := []map[string]any{
		{"hostname": "10.8.0.1", "iburst": true, "minpoll": 0, "maxpoll": 2},
		{"hostname": "10.8.0.2", "iburst": true, "minpoll": 0, "maxpoll": 2, "filter": 2},
		{"hostname": "10.8.0.3", "iburst": true, "minpoll": 0, "maxpoll": 2, "xleave": false},
	}
	vars := map[string]any{
		"timesync_ntp_servers": servers,
		"timesync_ptp_domains": []map[string]any{{"number": 0, "interfaces": []string{"enp2s0"}, "transport": "L2", "delay": 0.000002}},
		"timesync_min_sources": 2, "timesync_step_threshold": 0.01,
	}
	var options []string
	play := func(want ...string) {
		t.Helper()
		start := time.Now()
		out, err := c.Play(t, vars, options...)
		t.Logf("%v\n%s", time.Since(start).Round(time.Second), tail(out, 12))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("Ansible did not say %q:\n%s", w, out)
			}
		}
	}

	play("stopped and masked: chrony, chrony-wait, systemd-timesyncd, timemaster")
	if a := active(t, g, "clockarbiter"); a != "active" {
		t.Fatalf("clockarbiter is %s", a)
	}
	if a := active(t, g, "chrony"); a != "inactive" {
		t.Errorf("chrony is %s", a)
	}
	for _, masked := range []string{"chrony", "systemd-timesyncd"} {
		if s := strings.TrimSpace(g.Run(t, "systemctl is-enabled "+masked+" || true")); s != "masked" {
			t.Errorf("%s is %s", masked, s)
		}
	}
	if s := g.Run(t, "cat /proc/$(pgrep -x chronyd | head -n 1)/attr/current"); !strings.Contains(s, "chronyd (enforce)") {
		t.Errorf("chronyd is confined by AppArmor as %q", s)
	}
	vm.HostOf(g).Await(t, "locked", 5*time.Minute, vm.Locked)
	pid := property(t, g, "MainPID")

	play("changed=0")
	options = []string{"--tags", "configuration"}
	servers[0]["maxpoll"] = 3
	play("Reload clockarbiter", "changed=2")
	if now := property(t, g, "MainPID"); now != pid {
		t.Errorf("a change of the configuration restarted the service: process %s, was %s", now, pid)
	}

	written := g.Run(t, "cat /etc/clockarbiter/clockarbiter.toml")
	if !strings.Contains(written, "maxpoll = 3") {
		t.Errorf("configuration:\n%s", written)
	}
	vars["timesync_min_sources"] = 99
	if out, err := c.Play(t, vars, options...); err == nil || !strings.Contains(out, "min_sources") {
		t.Errorf("min_sources = 99 was not refused (%v):\n%s", err, out)
	}
	if now := g.Run(t, "cat /etc/clockarbiter/clockarbiter.toml"); now != written || property(t, g, "MainPID") != pid {
		t.Error("a refused configuration left its traces")
	}
}

func tail(s string, n int) string {
	l := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}
