// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only

package tracer

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// license is what the kernel wants of programs that read a process: this file may be had under it.
const license = "Dual MIT/GPL"

// The counters, one array entry: offsets in bytes.
const (
	countLost     = 0  // records that found the buffer full
	countOwn      = 8  // times that the hook let our own process pass
	countRefused  = 16 // times that it refused another
	countersBytes = 24
)

const capSysTime = 25

// struct __kernel_timex (include/uapi/linux/timex.h), the same on all 64-bit machines.
const (
	timexModes    = 0
	timexOffset   = 8
	timexFreq     = 16
	timexStatus   = 40
	timexConstant = 48
	timexSec      = 72
	timexNsec     = 80
	timexTick     = 88
)

// The stack of a program, which grows down from the frame pointer: the record, below it a key.
const (
	frameRecord = -recordLength
	frameKey    = frameRecord - 8
)

// parts is what the programs are made from.
type parts struct {
	self     int // our own process, whose calls are not reported and not refused
	callC    *ebpf.Map
	pending  *ebpf.Map // record by thread, between entry and exit
	counters *ebpf.Map
	offsets  offsets
}

// offsets of members of the running kernel's structures, from its BTF.
type offsets struct {
	taskMM, mmArgStart, mmArgEnd                 int16
	taskCgroups, setCgroup, cgroupNode, nodeName int16
	namespaceLevel                               int16
}

// readOffsets asks the kernel's BTF.
func readOffsets(spec *btf.Spec) (offsets, error) {
	var o offsets
	for _, m := range []struct {
		structure, member string
		to                *int16
	}{
		{"task_struct", "mm", &o.taskMM}, {"mm_struct", "arg_start", &o.mmArgStart}, {"mm_struct", "arg_end", &o.mmArgEnd},
		{"task_struct", "cgroups", &o.taskCgroups}, {"css_set", "dfl_cgrp", &o.setCgroup}, {"cgroup", "kn", &o.cgroupNode},
		{"kernfs_node", "name", &o.nodeName}, {"user_namespace", "level", &o.namespaceLevel},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(m.structure, &s); err != nil {
			return o, fmt.Errorf("struct %s: %w", m.structure, err)
		}
		at, ok := memberOffset(s, m.member)
		if !ok {
			return o, fmt.Errorf("struct %s has no member %s: %w", m.structure, m.member, errUnknownKernel)
		}
		*m.to = at
	}
	for _, f := range []struct {
		name string
		args int
	}{{"do_adjtimex", 1}, {"do_settimeofday64", 1}, {"bpf_lsm_capable", 4}, {"bpf_lsm_settime", 2}} {
		var fn *btf.Func
		if err := spec.TypeByName(f.name, &fn); err != nil {
			continue // attaching says so, where it is wanted
		}
		if p, ok := fn.Type.(*btf.FuncProto); !ok || len(p.Params) != f.args {
			return o, fmt.Errorf("%s has other arguments than the %d that are known: %w", f.name, f.args, errUnknownKernel)
		}
	}
	return o, nil
}

// memberOffset finds a member, in anonymous structures too.
func memberOffset(s *btf.Struct, name string) (int16, bool) {
	return memberIn(s.Members, name, 0)
}

func memberIn(members []btf.Member, name string, base uint32) (int16, bool) {
	for _, m := range members {
		at := base + m.Offset.Bytes()
		if m.Name == name {
			return int16(at), at < 1<<15
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if at, ok := memberIn(inner, name, at); ok {
			return at, true
		}
	}
	return 0, false
}

// adjtimexEntry keeps what is asked for: at the exit, the kernel has overwritten it with its state.
func (p parts) adjtimexEntry() *ebpf.ProgramSpec {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord), // struct __kernel_timex *
	}
	code = append(code, p.unlessOurs()...)
	code = append(code,
		asm.LoadMem(asm.R8, asm.R7, timexModes, asm.Word),
		asm.JEq.Imm(asm.R8, 0, "out"),
	)
	code = append(code, p.who(hookAdjtimex)...)
	code = append(code, asm.StoreMem(asm.R10, frameRecord+atModes, asm.R8, asm.Word))
	for _, f := range []struct{ from, to int16 }{
		{timexOffset, atOffset}, {timexFreq, atFreq}, {timexSec, atSec}, {timexNsec, atNsec}, {timexTick, atTick}, {timexConstant, atConstant},
	} {
		code = append(code, asm.LoadMem(asm.R1, asm.R7, f.from, asm.DWord), asm.StoreMem(asm.R10, frameRecord+f.to, asm.R1, asm.DWord))
	}
	code = append(code, asm.LoadMem(asm.R1, asm.R7, timexStatus, asm.Word), asm.StoreMem(asm.R10, frameRecord+atStatus, asm.R1, asm.DWord))
	code = append(code, key()...)
	code = append(code,
		asm.LoadMapPtr(asm.R1, p.pending.FD()),
		asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, frameKey),
		asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, frameRecord),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	)
	return p.tracing("adjtimex_entry", "do_adjtimex", ebpf.AttachTraceFEntry, append(code, out(0)...))
}

// adjtimexExit reports the call where the kernel did what was asked.
func (p parts) adjtimexExit() *ebpf.ProgramSpec {
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	code = append(code, p.unlessOurs()...)
	code = append(code, key()...)
	code = append(code,
		asm.LoadMapPtr(asm.R1, p.pending.FD()),
		asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, frameKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R7, asm.R0),
	)
	code = append(code, failed("forget")...)
	code = append(code, p.report(asm.Mov.Reg(asm.R2, asm.R7), "forget")...)
	code = append(code,
		asm.LoadMapPtr(asm.R1, p.pending.FD()).WithSymbol("forget"),
		asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, frameKey),
		asm.FnMapDeleteElem.Call(),
	)
	return p.tracing("adjtimex_exit", "do_adjtimex", ebpf.AttachTraceFExit, append(code, out(0)...))
}

// setTimeExit reports clock_settime, settimeofday and whoever in the kernel sets the clock for a process.
func (p parts) setTimeExit() *ebpf.ProgramSpec {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord), // struct timespec64 *
	}
	code = append(code, p.unlessOurs()...)
	code = append(code, failed("out")...)
	code = append(code, p.who(hookSetTime)...)
	code = append(code, timeAsked()...)
	code = append(code, p.report(nil, "out")...)
	return p.tracing("settime_exit", "do_settimeofday64", ebpf.AttachTraceFExit, append(code, out(0)...))
}

// capable refuses CAP_SYS_TIME over the host's clock to every process but ours. In a time namespace,
// which has a user namespace of its own, it refuses nothing.
func (p parts) capable() *ebpf.ProgramSpec {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, 16, asm.DWord), // int cap
		asm.LSh.Imm(asm.R1, 32), asm.RSh.Imm(asm.R1, 32),
		asm.JNE.Imm(asm.R1, capSysTime, "out"),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord), // struct user_namespace *
		asm.LoadMem(asm.R1, asm.R1, p.offsets.namespaceLevel, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "out"),
	}
	code = append(code, p.unlessOursCounted()...)
	code = append(code, p.who(hookCapable)...)
	code = append(code, p.report(nil, "refuse")...)
	return p.lsm("refuse_capable", "capable", append(code, p.refuse()...))
}

// setTime refuses what reaches this hook without passing capable: nothing, on kernels that check
// capabilities first.
func (p parts) setTime() *ebpf.ProgramSpec {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord), // struct timespec64 *, or none
	}
	code = append(code, p.unlessOursCounted()...)
	code = append(code, p.who(hookRefusedSet)...)
	code = append(code, asm.JEq.Imm(asm.R7, 0, "say"))
	code = append(code, timeAsked()...)
	report := p.report(nil, "refuse")
	report[0] = report[0].WithSymbol("say")
	code = append(code, report...)
	return p.lsm("refuse_settime", "settime", append(code, p.refuse()...))
}

func (p parts) tracing(name, function string, at ebpf.AttachType, code asm.Instructions) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, Type: ebpf.Tracing, AttachType: at, AttachTo: function, License: license, Instructions: code}
}

func (p parts) lsm(name, function string, code asm.Instructions) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: function, License: license, Instructions: code}
}

// unlessOurs goes out for calls of our own process.
func (p parts) unlessOurs() asm.Instructions {
	return asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.JEq.Imm(asm.R0, int32(p.self), "out"),
	}
}

// unlessOursCounted does so too, and counts them: that they come by is the proof that the hook is at work.
func (p parts) unlessOursCounted() asm.Instructions {
	code := asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32),
		asm.JNE.Imm(asm.R0, int32(p.self), "other"),
	}
	code = append(code, p.count(countOwn)...)
	return append(code, asm.Ja.Label("out"), asm.Mov.Imm(asm.R0, 0).WithSymbol("other"))
}

func (p parts) count(which uint32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, p.counters.FD(), which),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
	}
}

// refuse ends an LSM program: it counts and says EPERM, or lets pass at "out".
func (p parts) refuse() asm.Instructions {
	code := p.count(countRefused)
	code[0] = code[0].WithSymbol("refuse")
	return append(append(code, asm.Mov.Imm(asm.R0, -int32(unix.EPERM)), asm.Return()), out(0)...)
}

// out ends a program with this result.
func out(result int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, result).WithSymbol("out"), asm.Return()}
}

// failed goes to a label when the traced function, of one argument, returned an error.
func failed(label string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord),
		asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32),
		asm.JSLT.Imm(asm.R1, 0, label),
	}
}

// key puts the thread into the key of the frame.
func key() asm.Instructions {
	return asm.Instructions{asm.FnGetCurrentPidTgid.Call(), asm.StoreMem(asm.R10, frameKey, asm.R0, asm.DWord)}
}

// timeAsked puts the struct timespec64 at R7 into the record.
func timeAsked() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord), asm.StoreMem(asm.R10, frameRecord+atSec, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, 8, asm.DWord), asm.StoreMem(asm.R10, frameRecord+atNsec, asm.R1, asm.DWord),
	}
}

// report hands a record to the buffer: that of the frame, or where R2 is pointed. It goes to then.
func (p parts) report(where any, then string) asm.Instructions {
	point := asm.Instructions{asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, frameRecord)}
	if i, ok := where.(asm.Instruction); ok {
		point = asm.Instructions{i}
	}
	code := append(asm.Instructions{asm.LoadMapPtr(asm.R1, p.callC.FD())}, point...)
	code = append(code,
		asm.Mov.Imm(asm.R3, recordLength),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, then),
	)
	return append(code, p.count(countLost)...)
}

// who fills a record in the frame with everything about the caller. It leaves R6 to R8 alone.
func (p parts) who(h hook) asm.Instructions {
	code := asm.Instructions{asm.Mov.Imm(asm.R1, 0)}
	for at := int16(0); at < recordLength; at += 8 {
		code = append(code, asm.StoreMem(asm.R10, frameRecord+at, asm.R1, asm.DWord))
	}
	code = append(code, asm.StoreImm(asm.R10, frameRecord+atHook, int64(h), asm.Word))
	for _, f := range []struct {
		fn asm.BuiltinFunc
		to int16
	}{{asm.FnKtimeGetNs, atTime}, {asm.FnGetCurrentPidTgid, atPID}, {asm.FnGetCurrentUidGid, atUID}, {asm.FnGetCurrentCgroupId, atCgroup}} {
		code = append(code, f.fn.Call(), asm.StoreMem(asm.R10, frameRecord+f.to, asm.R0, asm.DWord))
	}
	code = append(code,
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, frameRecord+atName),
		asm.Mov.Imm(asm.R2, nameLength),
		asm.FnGetCurrentComm.Call(),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R9, asm.R0),
	)
	code = append(code, p.arguments()...)
	return append(code, p.leaf()...)
}

// arguments copies the beginning of the command line of the task at R9, and not a byte of the environment
// behind it.
func (p parts) arguments() asm.Instructions {
	o := p.offsets
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R9, o.taskMM, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "no_args"),
		asm.LoadMem(asm.R3, asm.R1, o.mmArgStart, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, o.mmArgEnd, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.JLE.Imm(asm.R2, argsLength, "short"),
		asm.Mov.Imm(asm.R2, argsLength),
		asm.Mov.Reg(asm.R1, asm.R10).WithSymbol("short"), asm.Add.Imm(asm.R1, frameRecord+atArgs),
		asm.FnProbeReadUser.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("no_args"),
	}
}

// leaf copies the last part of the path of the cgroup of the task at R9.
func (p parts) leaf() asm.Instructions {
	o := p.offsets
	code := asm.Instructions{asm.Mov.Reg(asm.R3, asm.R9)}
	for _, member := range []int16{o.taskCgroups, o.setCgroup, o.cgroupNode, o.nodeName} {
		code = append(code, asm.LoadMem(asm.R3, asm.R3, member, asm.DWord), asm.JEq.Imm(asm.R3, 0, "no_leaf"))
	}
	return append(code,
		asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, frameRecord+atLeaf),
		asm.Mov.Imm(asm.R2, leafLength),
		asm.FnProbeReadKernelStr.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("no_leaf"),
	)
}
