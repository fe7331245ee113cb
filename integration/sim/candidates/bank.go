package candidates

import "math"

const (
	ratios    = 19
	ratioStep = 3.0
	ratioMin  = 1e-8 // w/sigma, per second^1.5
	horizons  = 2
)

// Params are what is tried.
type Params struct {
	Switch     float64
	Fast, Slow float64
	Huber      float64
	Mix        bool
	Prior      float64
	Colours    []float64 // correlation times, s
	WhitePart  float64
}

type model struct {
	q                  float64 // (w/sigma)^2
	x, y               float64
	pp, pf, ff         float64 // unit: r
	tau, n, pn, fn, nn float64 // coloured noise
	white              float64
	r                  [horizons]float64
	p                  [horizons]float64
	nu, s              float64
}

// Bank is a bank of Kalman filters by the ratio of wander to noise.
type Bank struct {
	P          Params
	m          []model
	n          int
	at         float64
	z          float64
	X, Y       float64
	VX, VF, VY float64
	R, Q       float64
	horiz      [horizons]float64
}

func NewBank(p Params) *Bank { return &Bank{P: p, horiz: [horizons]float64{p.Fast, p.Slow}} }

func (b *Bank) Reading(at, z float64) {
	dt := (at - b.at) * 1e-9
	switch b.n {
	case 0:
		b.X, b.Y = z, 0
	case 1:
		b.start(dt, z)
	default:
		b.update(dt, z)
	}
	b.n++
	b.at, b.z = at, z
}

func (b *Bank) start(dt, z float64) {
	y := (z - b.z) / dt
	kinds := 1
	if dt < 0.6 {
		kinds += len(b.P.Colours)
	}
	b.m = make([]model, ratios*kinds)
	for i := range b.m {
		m := &b.m[i]
		m.q = math.Pow(ratioMin*math.Pow(ratioStep, float64(i%ratios)), 2)
		m.x, m.y = z, y
		m.white = 1
		m.pp, m.pf, m.ff = 1, 1/dt, 2/(dt*dt)+m.q*dt/3
		if k := i / ratios; k > 0 {
			m.tau = b.P.Colours[k-1]
			m.white = b.P.WhitePart
			c := 1 - m.white
			phi := math.Exp(-dt / m.tau)
			m.nn, m.pn = c, -c
			m.fn = -c * (1 - phi) / dt
			m.ff = 2*(1-c*phi)/(dt*dt) + m.q*dt/3
			m.pf = (1 - c*phi) / dt
		}
		for h := range horizons {
			m.p[h] = 1.0 / float64(len(b.m)*horizons)
			m.r[h] = b.P.Prior
		}
	}
	b.X, b.Y = z, y
	b.R = b.P.Prior
}

func (b *Bank) update(dt, z float64) {
	b.mix()
	var mean float64
	for i := range b.m {
		m := &b.m[i]
		m.project(dt)
		mean += (m.p[0] + m.p[1]) * m.x
		m.s = m.pp + 2*m.pn + m.nn + m.white
	}
	total := 0.0
	n := float64(b.n - 1)
	for i := range b.m {
		m := &b.m[i]
		nu := z - m.x - m.n
		for h := range horizons {
			v := m.r[h] * m.s
			u := 1 + nu*nu/(7*v)*(9.0/7)
			u *= u
			m.p[h] *= 1 / (math.Sqrt(v) * u * u)
			total += m.p[h]
		}
		m.nu = nu
	}
	b.X, b.Y, b.VX, b.R = 0, 0, 0, 0
	b.VF, b.VY, b.Q = 0, 0, 0
	for i := range b.m {
		m := &b.m[i]
		m.p[0] /= total
		m.p[1] /= total
		p := m.p[0] + m.p[1]
		r := m.r[1]
		if p > 0 {
			r = (m.p[0]*m.r[0] + m.p[1]*m.r[1]) / p
		}
		nu := m.nu
		lim := b.P.Huber * math.Sqrt(r*m.s)
		if nu > lim {
			nu = lim
		} else if nu < -lim {
			nu = -lim
		}
		for h := range horizons {
			e := nu * nu / m.s
			m.r[h] += (e - m.r[h]) / math.Min(n+1, b.horiz[h])
		}
		m.correct(nu)
		b.X += p * m.x
		b.Y += p * m.y
		b.R += p * r
	}
	for i := range b.m {
		m := &b.m[i]
		p := m.p[0] + m.p[1]
		r := m.r[1]
		b.VX += p * (m.pp*r + (m.x-b.X)*(m.x-b.X))
		b.VF += p * (m.pf*r + (m.x-b.X)*(m.y-b.Y))
		b.VY += p * (m.ff*r + (m.y-b.Y)*(m.y-b.Y))
		b.Q += p * m.q * r
	}
}

func (m *model) project(dt float64) {
	if m.tau > 0 {
		phi := math.Exp(-dt / m.tau)
		m.n *= phi
		m.pn = phi * (m.pn + m.fn*dt)
		m.fn *= phi
		m.nn = phi*phi*m.nn + (1-phi*phi)*(1-m.white)
	}
	m.x += m.y * dt
	m.pp += 2*m.pf*dt + m.ff*dt*dt + m.q*dt*dt*dt/3
	m.pf += m.ff*dt + m.q*dt*dt/2
	m.ff += m.q * dt
}

func (m *model) correct(nu float64) {
	if m.tau > 0 {
		m.correctColoured(nu)
		return
	}
	gp, gf := m.pp/m.s, m.pf/m.s
	m.x += gp * nu
	m.y += gf * nu
	m.ff -= gf * m.pf
	m.pf -= gp * m.pf
	m.pp -= gp * m.pp
}

func (b *Bank) mix() {
	eps := b.P.Switch
	if !b.P.Mix {
		for i := range b.m {
			for h := range horizons {
				b.m[i].p[h] = (1-eps)*b.m[i].p[h] + eps/float64(len(b.m)*horizons)
			}
		}
		return
	}
	// moments
	var mx, my float64
	for i := range b.m {
		m := &b.m[i]
		p := m.p[0] + m.p[1]
		mx += p * m.x
		my += p * m.y
	}
	var vpp, vpf, vff float64
	for i := range b.m {
		m := &b.m[i]
		p := m.p[0] + m.p[1]
		dx, dy := m.x-mx, m.y-my
		vpp += p * (m.pp*m.r[1] + dx*dx)
		vpf += p * (m.pf*m.r[1] + dx*dy)
		vff += p * (m.ff*m.r[1] + dy*dy)
	}
	for i := range b.m {
		m := &b.m[i]
		p := m.p[0] + m.p[1]
		c := (1-eps)*p + eps/float64(len(b.m))
		a := (1 - eps) * p / c
		if a < 0.999 {
			dx, dy := mx-m.x, my-m.y
			r := m.r[1]
			m.pp = a*m.pp + (1-a)*vpp/r + a*(1-a)*dx*dx/r
			m.pf = a*m.pf + (1-a)*vpf/r + a*(1-a)*dx*dy/r
			m.ff = a*m.ff + (1-a)*vff/r + a*(1-a)*dy*dy/r
			m.x += (1 - a) * dx
			m.y += (1 - a) * dy
		}
		for h := range horizons {
			m.p[h] = (1-eps)*m.p[h] + eps/float64(len(b.m)*horizons)
		}
	}
}

func (b *Bank) Clock(at float64) float64 { return b.X + b.Y*(at-b.at)*1e-9 }

func (m *model) correctColoured(nu float64) {
	hp, hf, hn := m.pp+m.pn, m.pf+m.fn, m.pn+m.nn
	gp, gf, gn := hp/m.s, hf/m.s, hn/m.s
	m.x += gp * nu
	m.y += gf * nu
	m.n += gn * nu
	m.pp -= gp * hp
	m.pf -= gp * hf
	m.pn -= gp * hn
	m.ff -= gf * hf
	m.fn -= gf * hn
	m.nn -= gn * hn
}
