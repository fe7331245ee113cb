package chrony

import (
	"fmt"
	"time"

	fbchrony "github.com/facebook/time/ntp/chrony"

	"clockarbiter/clock/timescale"
	"clockarbiter/sources"
)

// NewSample converts one line of a dump. at is the instant on L at which CLOCK_REALTIME read
// s.RealtimeNS. The sign turns here: the file has local - source, the sample has source - L.
//
// quality is what is known of the source; its root delay and dispersion are replaced by what the
// server had at this sample, which is the file's sum less the peer's part.
func NewSample(id sources.ID, s DumpSample, at timescale.Instant, quality sources.Quality) sources.Sample {
	sourceUTC := timescale.Instant(s.RealtimeNS).Add(-s.LocalFast)
	quality.RootDelay = sources.Some(serverShare(s.RootDelay, s.PeerDelay))
	quality.RootDispersion = sources.Some(serverShare(s.RootDispersion, s.PeerDispersion))
	return sources.Sample{
		Source:     id,
		At:         at,
		Offset:     sourceUTC.Sub(at),
		Delay:      sources.Some(s.PeerDelay),
		Dispersion: s.PeerDispersion + s.Resolution,
		Quality:    quality,
	}
}

// serverShare takes the peer's part out of a root value. It cannot be negative by chronyd's
// arithmetic; seven digits of each, and chronyd's mindelay option, can make it so.
func serverShare(root, peer time.Duration) time.Duration { return max(root-peer, 0) }

// packetQuality is what the last valid packet of a source said. Nothing is present before one came.
func packetQuality(n NTPData, a AuthData) sources.Quality {
	q := sources.Quality{Authenticated: sources.Some(a.Established())}
	if n.Valid == 0 {
		return q
	}
	q.Stratum, q.Leap = stratum(n.Stratum), leap(n.Leap)
	q.RootDelay, q.RootDispersion = sources.Some(n.RootDelay), sources.Some(n.RootDispersion)
	q.Reference = referenceText(n)
	return q
}

// sampleQuality is the quality of the samples of one dump: stratum and leap are of the last packet
// that was good for synchronisation.
func sampleQuality(d *Dump, n NTPData, a AuthData) sources.Quality {
	q := packetQuality(n, a)
	q.Stratum, q.Leap = stratum(d.Stratum), leap(d.Leap)
	return q
}

// stratum is absent outside of 1 to 15 (RFC 5905, figure 11).
func stratum(s uint8) sources.Optional[uint8] {
	if s < 1 || s > 15 {
		return sources.None[uint8]()
	}
	return sources.Some(s)
}

// leap is absent for the indicator 3, unsynchronised (RFC 5905, figure 9).
func leap(indicator uint8) sources.Optional[sources.Leap] {
	switch indicator {
	case 0:
		return sources.Some(sources.LeapNone)
	case 1:
		return sources.Some(sources.LeapInsert)
	case 2:
		return sources.Some(sources.LeapDelete)
	}
	return sources.None[sources.Leap]()
}

// referenceText is the reference ID as chronyc shows it: four characters of a kiss code or a
// reference clock at strata 0 and 1, else eight hexadecimal digits (RFC 5905, 7.3).
func referenceText(n NTPData) string {
	if n.Stratum <= 1 {
		return fbchrony.RefidToString(n.RefID)
	}
	return fmt.Sprintf("%08X", n.RefID)
}
