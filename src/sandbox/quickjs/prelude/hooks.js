/* Finds the hooks a plugin exports and runs them. */
;(kit, hookNames) => {
  const {
    append,
    apply,
    codes,
    getPrototypeOf,
    join,
    need,
    newContext,
    op,
    parse,
    serialOf,
    sliceText,
    stringify,
    text,
  } = kit
  const { TypeErrorCtor } = kit
  const InternalErrorPrototype = InternalError.prototype

  /** Hook name → function, once `register` found it. */
  const handlers = { __proto__: null }
  let onRequest
  let onResponse

  /** @returns the names of the hooks in the module, separated by commas. */
  function register(module) {
    const object = typeof module.default === "object" && module.default !== null ? module.default : undefined
    let found = ""
    for (let i = 0; i < hookNames.length; i++) {
      const { name, camel } = hookNames[i]
      const places = []
      look(places, module, camel, join("export ", camel))
      if (camel !== name) look(places, module, name, join("export ", name))
      if (object !== undefined) {
        look(places, object, camel, join("default.", camel))
        if (camel !== name) look(places, object, name, join("default.", name))
      }
      if (places.length === 0) continue
      if (places.length > 1)
        throw new TypeErrorCtor(join(places[0].where, " and ", places[1].where, " are the same hook; keep one"))
      const { where, value, owner } = places[0]
      if (typeof value !== "function") throw new TypeErrorCtor(join(where, " is not a function"))
      handlers[name] = owner === object ? (...args) => apply(value, object, args) : value
      found += join(found === "" ? "" : ",", name)
    }
    onRequest = handlers.on_request
    onResponse = handlers.on_response
    return found
  }

  function look(places, owner, name, where) {
    const value = owner[name]
    if (value !== undefined) append(places, { where, value, owner })
  }

  // Every entry answers 0 when the call is over, 1 when it waits for a promise.

  function callRequest(id) {
    try {
      const result = onRequest(newContext(id))
      if (result === undefined || result === null || result.action === "continue") return 0
      if (typeof result.then === "function") return wait(id, result, answerRequest)
      return answerRequest(id, result)
    } catch (error) {
      return threw(id, error)
    }
  }

  function answerRequest(id, result) {
    if (result === undefined || result === null || result.action === "continue") return 0
    if (typeof result === "object" && need("$respond")(id, result)) return 0
    return invalid(id, "on_request", 'nothing, { action: "continue" }, { action: "respond", … } or a Response', result)
  }

  function callResponse(id) {
    try {
      const result = onResponse(newContext(id))
      if (result === undefined || result === null || result.action === "continue") return 0
      if (typeof result.then === "function") return wait(id, result, answerResponse)
      return answerResponse(id, result)
    } catch (error) {
      return threw(id, error)
    }
  }

  function answerResponse(id, result) {
    if (result === undefined || result === null || result.action === "continue") return 0
    return invalid(id, "on_response", 'nothing or { action: "continue" }', result)
  }

  /** `kind`: 0 the answer is ignored, 1 it is JSON for the host. */
  function callEvent(id, name, params, kind) {
    try {
      const args = parse(params)
      if (kind === 0) append(args, new EventContext(id))
      const result = apply(handlers[name], undefined, args)
      const answer = kind === 0 ? ignore : answerJson
      if (typeof result === "object" && result !== null && typeof result.then === "function")
        return wait(id, result, answer)
      return answer(id, result)
    } catch (error) {
      return threw(id, error)
    }
  }

  /** The context of hooks without a request. */
  class EventContext {
    #id
    constructor(id) {
      this.#id = id
    }
    get leader() {
      return op(codes.leader, this.#id) === 1
    }
    waitUntil(promise) {
      need("$waitUntil")(this.#id, promise)
    }
  }

  const ignore = () => 0

  function answerJson(id, result) {
    const shown = stringify(result)
    if (shown !== undefined) op(codes.result, id, shown)
    return 0
  }

  function wait(id, promise, answer) {
    settle(id, promise, answer)
    return 1
  }

  async function settle(id, promise, answer) {
    try {
      answer(id, await promise)
    } catch (error) {
      threw(id, error)
    }
    op(codes.settled, id)
  }

  function invalid(id, hook, expected, result) {
    let shown = "something else"
    try {
      shown = sliceText(need("$inspect")(result, 1), 0, 200)
    } catch {}
    op(codes.invalidResult, id, join(hook, " returned ", shown, "; expected ", expected))
    return 0
  }

  const OTHER = 0
  const NULL = 1
  const MEMORY = 2
  const STACK = 3
  function threw(id, error) {
    let kind = error === null ? NULL : OTHER
    let what = "something that cannot be shown"
    let stack = ""
    try {
      if (typeof error === "object" && error !== null && getPrototypeOf(error) === InternalErrorPrototype) {
        if (error.message === "out of memory") kind = MEMORY
        else if (error.message === "stack overflow") kind = STACK
      }
      if (typeof error === "object" && error !== null && typeof error.message === "string") {
        what = join(text(error.name), error.message === "" ? "" : ": ", error.message)
        stack = text(error.stack)
      } else what = join("threw ", need("$inspect")(error, 1))
    } catch {}
    op(codes.threw, id, kind, sliceText(what, 0, 2000), sliceText(stack, 0, 4000), serialOf(error) ?? 0)
    return 0
  }

  return { __proto__: null, register, callRequest, callResponse, callEvent, threw, hostError: kit.hostError, need }
}
