package clock

// Resume takes up the rate of UTC against L, in parts per billion, that an earlier run left: the clock
// is held at it until there is a target. It is called before the first Tick.
func (d *Discipline) Resume(ratePPB float64) { d.servo.Resume(ratePPB) }
