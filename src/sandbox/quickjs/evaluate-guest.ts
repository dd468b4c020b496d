import { PluginError } from "../../errors.ts"
import type { GuestMemory } from "./guest-memory.ts"
import type { GuestSetup } from "./instance.ts"
import { need } from "./library-images.ts"

/** JS_EVAL_TYPE_MODULE */
const EVAL_MODULE = 1
/** Answers of promiseState. */
const NOT_A_PROMISE = -1
const FULFILLED = 1

/**
 * Evaluates the guest's modules in a machine that has its shared library files.
 * @param library - Names of the library files to be evaluated first.
 * @param runJobs - Runs what became runnable.
 * @returns the names of the hooks it exports, separated by commas.
 * @throws {Escaped} what the guest threw. @throws {PluginError} `E_PLUGIN_LOAD_FAILED`.
 */
export function evaluateGuest(
  memory: GuestMemory,
  setup: GuestSetup,
  library: readonly string[],
  runJobs: () => void,
): string {
  const { handles, machine } = memory
  const { engine } = machine
  const { modules, limits } = setup
  engine.setMemoryLimit(handles.runtime, limits.memoryBytes)
  const source = modules.load(modules.entry)
  for (const name of library) need(memory, name)
  const code = machine.newCString(source)
  const file = machine.newCString(modules.entry)
  const evaluated = engine.eval(handles.context, code, Buffer.byteLength(source), file, 0, EVAL_MODULE)
  engine.free(code)
  engine.free(file)
  memory.checked(evaluated)
  runJobs()
  const namespace = settled(memory, setup, evaluated)
  memory.pass(0, namespace)
  const found = memory.checked(memory.call(handles.register, 1))
  const hooks = memory.text(found)
  memory.free(found)
  memory.free(namespace)
  return hooks
}

/** A module with top-level await gives a promise of its namespace. */
function settled(memory: GuestMemory, setup: GuestSetup, value: number): number {
  const { engine } = memory.machine
  const { context } = memory.handles
  const state = engine.promiseState(context, value)
  if (state === NOT_A_PROMISE) return value
  const result = engine.promiseResult(context, value)
  memory.free(value)
  if (state === FULFILLED) return result
  const what =
    state === 0
      ? "the top level waits for something; wait in onServerStart instead"
      : "a promise the top level awaited was rejected"
  throw new PluginError("E_PLUGIN_LOAD_FAILED", setup.name, what)
}
