import type { MetricFamily } from "./metric-family.ts"

export interface WebsocketTotals {
  readonly opened: number
  readonly bytesFromClients: number
  readonly bytesToClients: number
}

/** What went through the websockets of one process. How many are open is among the metrics of the process. */
export function websocketMetrics({ opened, bytesFromClients, bytesToClients }: WebsocketTotals): MetricFamily[] {
  return [
    counter("bext_websockets_opened_total", "Websockets that were opened", opened),
    counter("bext_websocket_received_bytes_total", "Bytes from clients, framing included", bytesFromClients),
    counter("bext_websocket_sent_bytes_total", "Bytes to clients, framing included", bytesToClients),
  ]
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "counter", aggregator: "sum", values: [{ metricName: name, labels: {}, value }] }
}
