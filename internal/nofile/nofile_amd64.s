#include "textflag.h"

// func get(l *limit)
TEXT ·get(SB), NOSPLIT, $0-8
	MOVQ $97, AX // SYS_getrlimit
	MOVQ $7, DI  // RLIMIT_NOFILE
	MOVQ l+0(FP), SI
	SYSCALL
	RET
