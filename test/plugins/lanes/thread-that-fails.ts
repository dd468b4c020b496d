/** A lane's thread that cannot start. */
throw new Error("no such thread")
