// Going on with another stack: what a function must leave as it was is saved on the old one and restored from the new.
#pragma once

extern "C" void emulator_switch(void **saved, void *stack);

#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
)");

// A stack on which `start` begins when it is switched to.
inline void *emulator_stack(char *top, void (*start)()) {
  void **at = (void **)top;
  *--at = nullptr;  // as if called from nowhere: the stack pointer is then 8 off a multiple of 16
  *--at = (void *)start;
  return at - 6;  // registers, of any value
}
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, %function
emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size emulator_switch, .-emulator_switch
)");

inline void *emulator_stack(char *top, void (*start)()) {
  char *at = top - 160;
  *(void **)(at + 80) = nullptr;
  *(void **)(at + 88) = (void *)start;  // where the return goes
  return at;
}
#else
#error "the emulator has no stack switch for this architecture"
#endif
