//go:build !noasm

#include "textflag.h"

// Bit j%8 of byte j, for numbers in the order of the rows.
DATA bitOfRow<>+0(SB)/8, $0x8040201008040201
DATA bitOfRow<>+8(SB)/8, $0x8040201008040201
DATA bitOfRow<>+16(SB)/8, $0x8040201008040201
DATA bitOfRow<>+24(SB)/8, $0x8040201008040201
GLOBL bitOfRow<>(SB), RODATA|NOPTR, $32

DATA byteOfRow<>+0(SB)/8, $0x0000000000000000
DATA byteOfRow<>+8(SB)/8, $0x0101010101010101
DATA byteOfRow<>+16(SB)/8, $0x0202020202020202
DATA byteOfRow<>+24(SB)/8, $0x0303030303030303
GLOBL byteOfRow<>(SB), RODATA|NOPTR, $32

// The same for numbers in the order in which addLeavesAVX2 unpacks them: bytes 4i…4i+3 of the low
// lane are rows 8i…8i+3, and those of the high lane rows 8i+4…8i+7.
DATA bitUnpacked<>+0(SB)/8, $0x0804020108040201
DATA bitUnpacked<>+8(SB)/8, $0x0804020108040201
DATA bitUnpacked<>+16(SB)/8, $0x8040201080402010
DATA bitUnpacked<>+24(SB)/8, $0x8040201080402010
GLOBL bitUnpacked<>(SB), RODATA|NOPTR, $32

DATA byteUnpacked<>+0(SB)/8, $0x0101010100000000
DATA byteUnpacked<>+8(SB)/8, $0x0303030302020202
DATA byteUnpacked<>+16(SB)/8, $0x0101010100000000
DATA byteUnpacked<>+24(SB)/8, $0x0303030302020202
GLOBL byteUnpacked<>(SB), RODATA|NOPTR, $32

// func runMuxesAVX2(slots, to *uint64, muxes *mux, n int)
// Each slot is 128 rows; a mux names slots by the number of their first word.
TEXT ·runMuxesAVX2(SB), NOSPLIT, $0-32
	MOVQ slots+0(FP), SI
	MOVQ to+8(FP), DI
	MOVQ muxes+16(FP), BX
	MOVQ n+24(FP), CX
	TESTQ CX, CX
	JLE  done

loop:
	MOVWLZX 0(BX), R8
	MOVWLZX 2(BX), R9
	MOVWLZX 4(BX), R10
	VMOVDQU (SI)(R9*8), X0
	VPXOR   (SI)(R10*8), X0, X1
	VPAND   (SI)(R8*8), X1, X1
	VPXOR   X0, X1, X1
	VMOVDQU X1, (DI)
	ADDQ    $6, BX
	ADDQ    $16, DI
	DECQ    CX
	JNZ     loop

done:
	RET

// DIGIT sets the bytes of MASK whose row has a 1 in the 32 rows at (PLANE)(CX*1).
#define DIGIT(PLANE, MASK) \
	VPBROADCASTD (PLANE)(CX*1), MASK \
	VPSHUFB      Y14, MASK, MASK     \
	VPAND        Y15, MASK, MASK     \
	VPCMPEQB     Y15, MASK, MASK

// APPEND makes MASK, 0 or -1, the lowest digit of the numbers in TO.
#define APPEND(MASK, TO) \
	VPADDB TO, TO, TO \
	VPSUBB MASK, TO, TO


// func joinPlanesAVX2(numbers *[16]uint64, slots *uint64, planes *uint16, n int)
TEXT ·joinPlanesAVX2(SB), NOSPLIT, $0-32
	MOVQ    numbers+0(FP), DI
	MOVQ    slots+8(FP), SI
	MOVQ    planes+16(FP), BX
	VMOVDQU byteOfRow<>(SB), Y14
	VMOVDQU bitOfRow<>(SB), Y15
	XORQ    CX, CX

joinRows:
	VPXOR Y0, Y0, Y0
	MOVQ  n+24(FP), DX

joinDigit:
	DECQ    DX
	JLT     joined
	MOVWLZX (BX)(DX*2), R8
	LEAQ    (SI)(R8*8), R8
	DIGIT(R8, Y1)
	APPEND(Y1, Y0)
	JMP     joinDigit

joined:
	VMOVDQU Y0, (DI)(CX*8)
	ADDQ    $4, CX
	CMPQ    CX, $16
	JLT     joinRows
	VZEROUPPER
	RET

// LOOKUP sets TO to byte b of each row's leaf: four tables of 16 leaves, chosen by digits 0…3 in Y0,
// then one of them by the masks of digits 4 (Y4) and 5 (Y5).
#define LOOKUP(b, TO) \
	VBROADCASTI128 (64*b)(DX), TO     \
	VBROADCASTI128 (64*b+16)(DX), Y6  \
	VBROADCASTI128 (64*b+32)(DX), Y7  \
	VBROADCASTI128 (64*b+48)(DX), Y8  \
	VPSHUFB        Y0, TO, TO         \
	VPSHUFB        Y0, Y6, Y6         \
	VPSHUFB        Y0, Y7, Y7         \
	VPSHUFB        Y0, Y8, Y8         \
	VPBLENDVB      Y4, Y6, TO, TO     \
	VPBLENDVB      Y4, Y8, Y7, Y7     \
	VPBLENDVB      Y5, Y7, TO, TO

// func addLeavesAVX2(margins *[128]float32, slots *uint64, planes *[8]uint16, leaves *[4][64]uint8)
TEXT ·addLeavesAVX2(SB), NOSPLIT, $0-32
	MOVQ    margins+0(FP), DI
	MOVQ    slots+8(FP), SI
	MOVQ    planes+16(FP), BX
	MOVQ    leaves+24(FP), DX
	MOVWLZX 0(BX), R8
	MOVWLZX 2(BX), R9
	MOVWLZX 4(BX), R10
	MOVWLZX 6(BX), R11
	MOVWLZX 8(BX), R12
	MOVWLZX 10(BX), R13
	LEAQ    (SI)(R8*8), R8
	LEAQ    (SI)(R9*8), R9
	LEAQ    (SI)(R10*8), R10
	LEAQ    (SI)(R11*8), R11
	LEAQ    (SI)(R12*8), R12
	LEAQ    (SI)(R13*8), R13
	VMOVDQU byteUnpacked<>(SB), Y14
	VMOVDQU bitUnpacked<>(SB), Y15
	XORQ    CX, CX

addRows:
	VPXOR Y0, Y0, Y0
	DIGIT(R11, Y1)
	DIGIT(R10, Y2)
	DIGIT(R9, Y3)
	DIGIT(R8, Y4)
	APPEND(Y1, Y0)
	APPEND(Y2, Y0)
	APPEND(Y3, Y0)
	APPEND(Y4, Y0)
	DIGIT(R12, Y4)
	DIGIT(R13, Y5)
	LOOKUP(0, Y9)
	LOOKUP(1, Y10)
	LOOKUP(2, Y11)
	LOOKUP(3, Y12)
	VPUNPCKLBW Y10, Y9, Y0
	VPUNPCKHBW Y10, Y9, Y1
	VPUNPCKLBW Y12, Y11, Y2
	VPUNPCKHBW Y12, Y11, Y3
	VPUNPCKLWD Y2, Y0, Y4
	VPUNPCKHWD Y2, Y0, Y5
	VPUNPCKLWD Y3, Y1, Y6
	VPUNPCKHWD Y3, Y1, Y7
	VADDPS     0(DI), Y4, Y4
	VADDPS     32(DI), Y5, Y5
	VADDPS     64(DI), Y6, Y6
	VADDPS     96(DI), Y7, Y7
	VMOVUPS    Y4, 0(DI)
	VMOVUPS    Y5, 32(DI)
	VMOVUPS    Y6, 64(DI)
	VMOVUPS    Y7, 96(DI)
	ADDQ       $128, DI
	ADDQ       $4, CX
	CMPQ       CX, $16
	JLT        addRows
	VZEROUPPER
	RET

// KEYS loads the keys of rows 4i…4i+3 and 4i+16…4i+19, as signed numbers: VPACKSSDW and VPACKSSWB
// work within 128-bit lanes, and put them back in order.
#define KEYS(i, X, Y) \
	VMOVDQU     (16*i)(DX), X           \
	VINSERTI128 $1, (16*i+64)(DX), Y, Y \
	VPXOR       Y14, Y, Y

// func reachedAVX2(slots *uint64, thresholds *uint32, n int, keys *[128]uint32)
// Sets n slots, one after the other, to the rows whose key is at least the threshold.
TEXT ·reachedAVX2(SB), NOSPLIT, $0-32
	MOVQ     slots+0(FP), DI
	MOVQ     keys+24(FP), DX
	VPCMPEQD Y14, Y14, Y14
	VPSLLD   $31, Y14, Y14
	MOVQ     $4, R9

nextRows:
	MOVQ thresholds+8(FP), BX
	MOVQ n+16(FP), CX
	MOVQ DI, SI
	KEYS(0, X0, Y0)
	KEYS(1, X1, Y1)
	KEYS(2, X2, Y2)
	KEYS(3, X3, Y3)

nextThreshold:
	VPBROADCASTD (BX), Y8
	VPXOR        Y14, Y8, Y8
	VPCMPGTD     Y0, Y8, Y4
	VPCMPGTD     Y1, Y8, Y5
	VPCMPGTD     Y2, Y8, Y6
	VPCMPGTD     Y3, Y8, Y7
	VPACKSSDW    Y5, Y4, Y4
	VPACKSSDW    Y7, Y6, Y6
	VPACKSSWB    Y6, Y4, Y4
	VPMOVMSKB    Y4, R8
	NOTL         R8
	MOVL         R8, (SI)
	ADDQ         $16, SI
	ADDQ         $4, BX
	DECQ         CX
	JNZ          nextThreshold
	ADDQ         $128, DX
	ADDQ         $4, DI
	DECQ         R9
	JNZ          nextRows
	VZEROUPPER
	RET
