"""Specialisations: what a recording of a function depends on, and the programs that run in the function's place.

A *specialisation* is one recording with its program. It is found by a *key* (structure, types and plain values of the
arguments, as the cache key of ``jax.jit``) and holds while its *guards* do (what the function read from around it, as
in TorchDynamo). What keeps changing is generalised: from a guard to an input of the program.

What a call depends on
    keys, arguments, flattening                 the key; arguments taken apart as pytrees
    environment, walker                         all that the function can read besides, found by walking from it
    places, guards, guard_list, digests,        where a value was read, and the condition that it is as it was
    holders
    modules, by_name, identities, named         attributes of modules; comparisons with ``is``
    standard_objects                            objects of Python's and NumPy's own classes
    backward_reads, kept_in_c, origins          what user-defined backward functions read; C state; library code
    aliasing, gradients                         which arguments are views or share memory; gradients that were read
What changes from call to call, and becomes an input
    watching, proxies, scalars                  numbers and tensors in guarded places; proxies for them while recording
    append_only                                 lists that are only added to
    dynamic_shapes, variants, sizes, compared   symbolic sizes: one recording, and one machine code, for many sizes
    shims, calls, draws                         C functions and random generators that would read a proxy unseen
One recording
    recorded, derivatives                       a run of the function under a recorder; backward programs of its results
    effects, leaving, printed, impure           side effects on Python objects, replayed at each call; impure reads
    forming, births, garbage                    objects that the function makes and returns, made anew at each call
Running it
    specialisation, fast_path                   when a recording serves a call; the inline cache before all other checks
    program, building                           from a recording to compiled programs, in the background if asked
    checks, device_checks                       conditions on values: before a program, in it, and later, of a GPU's
    replay, inputs, results, histories          a program in the function's place: inputs, results, their gradients
    tree, branches, paths                       data-dependent branches: a tree of programs, chosen by values
    counted                                     sizes that values decide, as symbols of the paths behind them
    lazy, segments                              functions that no program can stand in for: lazy evaluation by segments
"""
