//go:build !noasm

#include "textflag.h"

// func float32sAVX2(dst *float64, raw *byte, n int) (infinite int)
// n is a multiple of 8, and more than 0. A float is infinite when all but its sign is the exponent of ones.
TEXT ·float32sAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ raw+8(FP), SI
	MOVQ n+16(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSRLD   $1, Y15, Y14  // all but the sign
	VPSRLD   $24, Y15, Y13
	VPSLLD   $23, Y13, Y13 // infinity
	VPXOR    Y12, Y12, Y12

loop:
	VMOVDQU    (SI), Y0
	VCVTPS2PD  X0, Y1
	VEXTRACTF128 $1, Y0, X2
	VCVTPS2PD  X2, Y2
	VMOVUPD    Y1, (DI)
	VMOVUPD    Y2, 32(DI)
	VPAND      Y14, Y0, Y0
	VPCMPEQD   Y13, Y0, Y0
	VPOR       Y0, Y12, Y12
	ADDQ       $32, SI
	ADDQ       $64, DI
	SUBQ       $8, CX
	JNZ        loop

	VPMOVMSKB Y12, AX
	MOVQ      AX, infinite+24(FP)
	VZEROUPPER
	RET
