// Package recording keeps what the arbiter was given and what it decided, so that a decision can be
// looked up, repeated bit for bit, and repeated under another configuration.
//
// A file is gzip-compressed JSON, one Entry per line: a Header, a Keyframe with the whole state of
// arbiter and roster, then every update, order and tick as they happened. A tick carries a digest of its
// decision, and the decision in full where it changed. A file stands for itself: rotation begins a new
// one with another keyframe, and a file that was cut off is good up to the cut.
//
// Encoding, reading, Replay and Compare are pure. Recorder is the shell around them: a bounded queue and
// a goroutine that writes. It never makes the control loop wait and never fails it; what could not be
// written is counted.
package recording
