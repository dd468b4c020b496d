import { randomUUID } from "node:crypto"
import { type Attributes, type HrTime, type SpanContext, SpanKind, SpanStatusCode } from "@opentelemetry/api"
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources"
import type { ReadableSpan } from "@opentelemetry/sdk-trace"
import {
  ATTR_CLIENT_ADDRESS,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_REQUEST_METHOD_ORIGINAL,
  ATTR_HTTP_REQUEST_RESEND_COUNT,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_SERVICE_NAME,
  ATTR_URL_FULL,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
} from "@opentelemetry/semantic-conventions"
import type { HookSpan, ServerSpan, Span, UpstreamSpan } from "./span.ts"

/** Methods that semantic conventions know; a stranger may send any that the parser does. */
const KNOWN_METHODS = new Set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "))

/** One for each process, so that the processes of one server can be told apart. */
const INSTANCE_ID = randomUUID()

const NOTHING_DROPPED = { droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 }

/**
 * Puts spans into the SDK's form. Attributes have the names of the semantic conventions for HTTP, and `bext.…` where those
 * have none.
 * Source: OpenTelemetry semantic conventions 1.43, "HTTP spans".
 */
export function createToReadableSpan(serviceName: string): (span: Span) => ReadableSpan {
  const resource = defaultResource().merge(
    resourceFromAttributes({
      [ATTR_SERVICE_NAME]: serviceName,
      "service.instance.id": INSTANCE_ID,
      "process.pid": process.pid,
    }),
  )
  const common = { resource, instrumentationScope: { name: "bext" }, links: [], events: [], ended: true }
  return (span) => {
    const { traceId, spanId, parentId, flags: traceFlags } = span
    const context: SpanContext = { traceId, spanId, traceFlags }
    const parent = { traceId, spanId: parentId ?? "", traceFlags, isRemote: span.kind === "server" }
    return {
      ...common,
      ...NOTHING_DROPPED,
      ...describe(span),
      spanContext: () => context,
      ...(parentId !== null && { parentSpanContext: parent }),
      startTime: toHrTime(span.startedAtMs),
      endTime: toHrTime(span.endedAtMs),
      duration: toHrTime(span.endedAtMs - span.startedAtMs),
    }
  }
}

type Description = Pick<ReadableSpan, "name" | "kind" | "status" | "attributes">

function describe(span: Span): Description {
  switch (span.kind) {
    case "server":
      return describeServer(span)
    case "hook":
      return describeHook(span)
    case "upstream":
      return describeUpstream(span)
  }
}

/** A failure of the client's is none of the server's: below 500 the status stays unset. */
function describeServer(span: ServerSpan): Description {
  const { method, host, hostname, route, status, errorCode } = span
  const errorType = status >= 500 ? (errorCode ?? String(status)) : null
  const port = host.slice(hostname.length + 1)
  return {
    name: route === null ? nameOf(method) : `${nameOf(method)} ${route}`,
    kind: SpanKind.SERVER,
    status: toStatus(errorType),
    attributes: {
      ...methodOf(method),
      [ATTR_URL_PATH]: span.path,
      [ATTR_URL_SCHEME]: span.scheme,
      [ATTR_SERVER_ADDRESS]: withoutBrackets(hostname),
      ...(port !== "" && { [ATTR_SERVER_PORT]: Number(port) }),
      [ATTR_CLIENT_ADDRESS]: span.clientAddress,
      [ATTR_HTTP_RESPONSE_STATUS_CODE]: status,
      ...(route !== null && { [ATTR_HTTP_ROUTE]: route }),
      ...errorAttributes(errorType, errorCode),
      "bext.request_id": span.requestId,
      ...(span.aborted && { "bext.aborted": true }),
    },
  }
}

function describeHook({ plugin, hook, tier, fuel, errorCode }: HookSpan): Description {
  return {
    name: `${plugin} ${hook}`,
    kind: SpanKind.INTERNAL,
    status: toStatus(errorCode),
    attributes: {
      "bext.plugin": plugin,
      "bext.hook": hook,
      "bext.tier": tier,
      ...(fuel !== null && { "bext.fuel": fuel }),
      ...errorAttributes(errorCode, errorCode),
    },
  }
}

function describeUpstream({ method, url, status, resent, errorCode }: UpstreamSpan): Description {
  const { hostname, port, protocol } = new URL(url)
  const errorType = errorCode ?? (status !== null && status >= 400 ? String(status) : null)
  return {
    name: nameOf(method),
    kind: SpanKind.CLIENT,
    status: toStatus(errorType),
    attributes: {
      ...methodOf(method),
      [ATTR_URL_FULL]: url,
      [ATTR_SERVER_ADDRESS]: withoutBrackets(hostname),
      [ATTR_SERVER_PORT]: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port),
      ...(status !== null && { [ATTR_HTTP_RESPONSE_STATUS_CODE]: status }),
      ...(resent > 0 && { [ATTR_HTTP_REQUEST_RESEND_COUNT]: resent }),
      ...errorAttributes(errorType, errorCode),
    },
  }
}

/** An IPv6 address stands in brackets in an authority, and without them in an attribute. */
function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1")
}

function nameOf(method: string): string {
  return KNOWN_METHODS.has(method) ? method : "HTTP"
}

function methodOf(method: string): Attributes {
  if (KNOWN_METHODS.has(method)) return { [ATTR_HTTP_REQUEST_METHOD]: method }
  return { [ATTR_HTTP_REQUEST_METHOD]: "_OTHER", [ATTR_HTTP_REQUEST_METHOD_ORIGINAL]: method }
}

function errorAttributes(errorType: string | null, errorCode: string | null): Attributes {
  return {
    ...(errorType !== null && { [ATTR_ERROR_TYPE]: errorType }),
    ...(errorCode !== null && { "bext.error_code": errorCode }),
  }
}

function toStatus(errorType: string | null): ReadableSpan["status"] {
  return { code: errorType === null ? SpanStatusCode.UNSET : SpanStatusCode.ERROR }
}

function toHrTime(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}
