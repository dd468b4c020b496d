export function onRequest() {
  for (;;);
}
