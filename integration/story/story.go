package story

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clockarbiter/integration/namespaces"
	"clockarbiter/sources"
	"clockarbiter/supervisor"
)

// Limits of the figures, and how long the story waits for what has none of its own.
const (
	acquisitionLimit = 15 * time.Second
	acquiredError    = 100 * time.Microsecond
	lockedRMSLimit   = 5 * time.Microsecond
	failoverLimit    = 10 * time.Second
	failoverError    = 200 * time.Microsecond
	returnLimit      = 40 * time.Second
	falsetickerLimit = 10 * time.Second
	falsetickerMove  = 20 * time.Microsecond
	lie              = 15 * time.Millisecond
)

// domain is the PTP domain, not the default one, so that its way through the configuration is tested.
const domain = 24

// Tempo is how long the story stays where nothing happens.
type Tempo struct {
	// Locked is how long the locked clock is measured.
	Locked time.Duration
	// Aftermath is how long a chapter goes on after its event.
	Aftermath time.Duration
}

// Audience is told what happens while it happens. Seen is called from another goroutine than Chapter.
type Audience struct {
	Chapter func(title string)
	Seen    func(Point, supervisor.Status)
}

// Options are what a story may differ in.
type Options struct {
	// Binary is the supervisor's.
	Binary   string
	Tempo    Tempo
	Audience Audience
	// Edit changes the supervisor's configuration before it is used, where it is not nil.
	Edit func(configuration string) string
}

// Story is the world, the supervisor in it, and what was observed.
type Story struct {
	World       *namespaces.World
	Grandmaster *namespaces.Grandmaster
	Servers     []*namespaces.NTPServer
	Supervisor  *namespaces.Process

	options Options
	log     *Journal
	watch   *watch
	// stop ends the watch, watched is closed when it has ended.
	stop    context.CancelFunc
	watched chan struct{}
	figures []Figure
}

// Begin makes the world and starts the supervisor in it.
func Begin(ctx context.Context, options Options) (*Story, error) {
	w, err := namespaces.New(ctx)
	if err != nil {
		return nil, err
	}
	s := &Story{World: w, options: options, log: &Journal{}}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, errors.New(w.Report()), w.Close())
	}
	return s, nil
}

func (s *Story) begin(ctx context.Context) error {
	s.options.Audience.Chapter("a grandmaster and three NTP servers start")
	if err := s.populate(); err != nil {
		return err
	}
	if err := s.World.Ready(ctx); err != nil {
		return err
	}
	dir, err := s.World.Dir("clockarbiter")
	if err != nil {
		return err
	}
	file, err := s.configure(dir)
	if err != nil {
		return err
	}
	s.Supervisor, err = s.World.Start("clockarbiter", s.log, s.options.Binary, "run", "-c", file)
	if err != nil {
		return err
	}
	s.watch = &watch{socket: filepath.Join(dir, "run/status.sock"), began: time.Now()}
	s.watched = make(chan struct{})
	ctx, s.stop = context.WithCancel(ctx)
	go func() {
		defer close(s.watched)
		s.watch.run(ctx, s.options.Audience.Seen)
	}()
	return nil
}

// populate adds the grandmaster and the servers.
func (s *Story) populate() (err error) {
	s.Grandmaster, err = s.World.AddGrandmaster("gm", namespaces.GrandmasterOptions{Domain: domain})
	if err != nil {
		return err
	}
	for i := range 3 {
		server, err := s.World.AddNTPServer(fmt.Sprintf("ntp%d", i+1))
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, server)
	}
	return nil
}

// configure writes the supervisor's configuration.
func (s *Story) configure(dir string) (file string, err error) {
	tools := make(map[string]string)
	for _, name := range []string{"ptp4l", "chronyd"} {
		if tools[name], err = s.World.Tool(name); err != nil {
			return "", err
		}
	}
	var servers []netip.Addr
	for _, server := range s.Servers {
		servers = append(servers, server.Address())
	}
	file = filepath.Join(dir, "clockarbiter.toml")
	text := configuration(dir, s.Grandmaster.Interface(), domain, tools, servers)
	if s.options.Edit != nil {
		text = s.options.Edit(text)
	}
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// End stops the supervisor as an administrator would. That it does not stop, or stops with an error, is one.
func (s *Story) End() error {
	s.stop()
	<-s.watched
	return errors.Join(s.Supervisor.Stop(), s.Supervisor.Err())
}

// Close ends whatever is left of the story and its world.
func (s *Story) Close() error {
	s.stop()
	<-s.watched
	return s.World.Close()
}

// Play plays every chapter in turn and returns the figures. An error is one of the play, not of the
// clock: a figure that was missed is no error.
func (s *Story) Play(ctx context.Context) ([]Figure, error) {
	for _, chapter := range []func(context.Context) error{
		s.acquire, s.lock, s.loseGrandmaster, s.regainGrandmaster, s.hearALie,
	} {
		if err := chapter(ctx); err != nil {
			return s.figures, err
		}
	}
	s.figure("throughout", "true error beyond the published bound", beyondBound(s.watch.since(0)), 0)
	return s.figures, nil
}

// Journal is what the supervisor logged.
func (s *Story) Journal() *Journal { return s.log }

// Status is what the supervisor's status socket said last.
func (s *Story) Status() supervisor.Status { return s.watch.status() }

// acquire: from the wrong offset and frequency to a small error that stays small.
func (s *Story) acquire(ctx context.Context) error {
	const chapter = "acquisition"
	s.options.Audience.Chapter(fmt.Sprintf("the clock starts %v and %g ppm off", initialOffset, frequencyError))
	_, err := s.until(ctx, 0, acquisitionLimit+s.options.Tempo.Aftermath, func(supervisor.Status) bool {
		since, ok := heldSince(s.watch.since(0), acquiredError).Get()
		return ok && s.now()-since > s.options.Tempo.Aftermath
	})
	s.figure(chapter, "until the true error stays under "+Span(acquiredError),
		heldSince(s.watch.since(0), acquiredError), acquisitionLimit)
	return err
}

// lock: the clock follows PTP.
func (s *Story) lock(ctx context.Context) error {
	const chapter = "locked to PTP"
	s.options.Audience.Chapter("the arbiter chooses PTP, the clock locks to it")
	took, err := s.until(ctx, 0, returnLimit, followsPTP)
	if err != nil {
		return err
	}
	s.figure(chapter, "from the start until PTP is selected", took, returnLimit)
	if err := s.stay(ctx, s.options.Tempo.Aftermath); err != nil {
		return err
	}
	from := s.now()
	if err := s.stay(ctx, s.options.Tempo.Locked); err != nil {
		return err
	}
	s.figure(chapter, "RMS of the true error", rms(s.watch.since(from)), lockedRMSLimit)
	return nil
}

// loseGrandmaster: ptp4l dies, NTP takes over.
func (s *Story) loseGrandmaster(ctx context.Context) error {
	const chapter = "grandmaster killed"
	s.options.Audience.Chapter("the grandmaster is killed")
	from := s.now()
	if err := s.Grandmaster.Kill(); err != nil {
		return err
	}
	took, err := s.until(ctx, from, failoverLimit+s.options.Tempo.Aftermath, followsNTP)
	if err != nil {
		return err
	}
	if err := s.stay(ctx, s.options.Tempo.Aftermath); err != nil {
		return err
	}
	s.figure(chapter, "until an NTP source is selected", took, failoverLimit)
	s.figure(chapter, "largest true error", worst(s.watch.since(from)), failoverError)
	return nil
}

// regainGrandmaster: ptp4l is back, and so is PTP.
func (s *Story) regainGrandmaster(ctx context.Context) error {
	const chapter = "grandmaster back"
	s.options.Audience.Chapter("the grandmaster comes back")
	from := s.now()
	if err := s.Grandmaster.Start(); err != nil {
		return err
	}
	took, err := s.until(ctx, from, returnLimit, followsPTP)
	if err != nil {
		return err
	}
	if err := s.stay(ctx, s.options.Tempo.Aftermath); err != nil {
		return err
	}
	s.figure(chapter, "until PTP is selected again", took, returnLimit)
	s.figure(chapter, "largest true error", worst(s.watch.since(from)), failoverError)
	return nil
}

// hearALie: an NTP server lies and is found out.
func (s *Story) hearALie(ctx context.Context) error {
	const chapter = "an NTP server lies"
	liar := s.Servers[0]
	s.options.Audience.Chapter(fmt.Sprintf("%s lies by %v", liar.Interface(), lie))
	from := s.now()
	before := mean(s.watch.since(from - s.options.Tempo.Aftermath))
	liar.Lie(lie)
	named := func(status supervisor.Status) bool {
		source, ok := find(status, liar.Address())
		return ok && source.State == "falseticker"
	}
	took, err := s.until(ctx, from, falsetickerLimit, named)
	if err != nil {
		return err
	}
	if err := s.stay(ctx, s.options.Tempo.Aftermath); err != nil {
		return err
	}
	s.figure(chapter, "until it is named a falseticker", took, falsetickerLimit)
	s.figure(chapter, "how far the true error moved", farthest(s.watch.since(from), before), falsetickerMove)
	return nil
}

func followsPTP(status supervisor.Status) bool { return follows(status, "ptp:") }
func followsNTP(status supervisor.Status) bool { return follows(status, "ntp:") }

// follows reports whether the selected source is of the kind that its ID begins with.
func follows(status supervisor.Status, kind string) bool {
	selected, ok := status.Selected.Get()
	return ok && strings.HasPrefix(string(selected), kind)
}

// find returns what the status says of the NTP server.
func find(status supervisor.Status, server netip.Addr) (supervisor.SourceStatus, bool) {
	for _, source := range status.Sources {
		if source.ID == sources.ID("ntp:"+server.String()) {
			return source, true
		}
	}
	return supervisor.SourceStatus{}, false
}

func (s *Story) figure(chapter, what string, got sources.Optional[time.Duration], limit time.Duration) {
	s.figures = append(s.figures, Figure{Chapter: chapter, What: what, Got: got, Limit: limit})
}

// now is the time since the story began.
func (s *Story) now() time.Duration { return time.Since(s.watch.began) }

// until waits until the status is as wanted, and returns how long that took since from: absent when it
// was not so within limit. A supervisor that ends is an error.
func (s *Story) until(
	ctx context.Context, from, limit time.Duration, wanted func(supervisor.Status) bool,
) (sources.Optional[time.Duration], error) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for s.now()-from <= limit {
		if wanted(s.watch.status()) {
			return sources.Some(s.now() - from), nil
		}
		select {
		case <-ctx.Done():
			return sources.None[time.Duration](), ctx.Err()
		case <-s.Supervisor.Done():
			return sources.None[time.Duration](), errors.Join(ctx.Err(), errors.New("the supervisor ended"), s.Supervisor.Err())
		case <-tick.C:
		}
	}
	return sources.None[time.Duration](), nil
}

// stay lets the story go on for d.
func (s *Story) stay(ctx context.Context, d time.Duration) error {
	_, err := s.until(ctx, s.now(), d, func(supervisor.Status) bool { return false })
	return err
}
