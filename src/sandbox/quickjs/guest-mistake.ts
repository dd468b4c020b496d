/** The guest's own mistake in using a function (wrong type, wrong value): a TypeError in the guest, no failure by itself. */
export class GuestMistake extends Error {}
