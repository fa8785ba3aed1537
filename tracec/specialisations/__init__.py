"""Specialisations of compiled functions: what a recording hangs on, and how programs stand in for it.

places, walker, environment, guards, digests    what a function reads, and whether it is as it was
modules, by_name, identities                    what it reads of modules, by names; what it compares by identity
keys, arguments                                 what of arguments counts, and what they hold, part by part
holders, origins                                what is read of objects besides attributes; whose code it is
watching, stand_ins, growing, opening           numbers, tensors, lists and objects that change are inputs
families, variants, sizes                       arguments that differ in sizes alone share a program
effects, leaving, printed, impure               what a function leaves behind; reads that no guard tells of
forming, births, garbage                        what it makes and gives, made anew at each call
disguises, calls, draws                         functions of C and generators that give numbers of each call
kept_in_c, named, way_back                      what C code keeps, what is named, what backward functions read
recorded, derivatives                           one run of a function, and how gradients go back from its results
program, checks, building                       from a recording to programs, and those of its gradients
replay, inputs, results, fast_path                   a program in the function's place, and the short way to it
looks, histories                                what it asks of arguments; where gradients of its results go back
again, segments                                 functions that no program stands in for, compiled in parts
tree, ways                                      functions that ask for values, which choose among programs
specialisation                                  what one recording gave, and when it serves a call
"""
