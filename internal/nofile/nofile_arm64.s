#include "textflag.h"

// func get(l *limit)
TEXT ·get(SB), NOSPLIT, $0-8
	MOVD $163, R8 // SYS_getrlimit
	MOVD $7, R0   // RLIMIT_NOFILE
	MOVD l+0(FP), R1
	SVC
	RET
