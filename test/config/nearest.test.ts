import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { nearest } from "../../src/config/nearest.ts"

const KEYS = ["on_error", "priority", "cache_backend", "middleware", "max_memory_mb", "path"]

describe("nearest", () => {
  it("sees through another spelling of the same word", () => {
    assert.equal(nearest("onError", KEYS), "on_error")
    assert.equal(nearest("CacheBackend", KEYS), "cache_backend")
    assert.equal(nearest("max-memory-mb", KEYS), "max_memory_mb")
  })

  it("sees through typos: a letter too many, missing, wrong or swapped", () => {
    assert.equal(nearest("priorrity", KEYS), "priority")
    assert.equal(nearest("prioity", KEYS), "priority")
    assert.equal(nearest("midlleware", KEYS), "middleware")
    assert.equal(nearest("paht", KEYS), "path")
  })

  it("does not guess wildly", () => {
    assert.equal(nearest("colour", KEYS), undefined)
    assert.equal(nearest("p", KEYS), undefined)
    assert.equal(nearest("bath_room", KEYS), undefined)
    assert.equal(nearest("x".repeat(100_000), KEYS), undefined)
  })
})
