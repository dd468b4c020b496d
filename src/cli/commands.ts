export interface Option {
  readonly type: "string" | "boolean"
  /** What a text option takes, e.g. FILE. */
  readonly value?: string
  /** One letter: f for -f. */
  readonly short?: string
  readonly description: string
}

export interface Command {
  readonly summary: string
  /** What follows the command's name. */
  readonly usage: string
  readonly options: Readonly<Record<string, Option>>
  /** Most words that are no options. */
  readonly words: number
  /** What a word too many was probably meant as. */
  readonly wordHint?: (word: string) => string
  /** Further paragraphs of the help. */
  readonly details: readonly string[]
  readonly examples: readonly (readonly [command: string, what: string])[]
  /** The command's own file is read only when it is called. */
  load(): Promise<(args: readonly string[]) => Promise<number>>
}

const config: Option = {
  type: "string",
  value: "FILE",
  description: "The configuration. Default: bext.config.toml in this folder",
}

const json: Option = { type: "boolean", description: "Print JSON" }

/** Of commands that ask a running server. */
const running: Readonly<Record<string, Option>> = {
  config,
  admin: {
    type: "string",
    value: "URL",
    description: "The admin listener: http://ADDRESS:PORT or unix:PATH. Default: that of the configuration",
  },
}

const ASKS_SERVER =
  "Asks the running server over its admin listener, which the configuration names. The token, where one is needed, comes\nfrom the variable BEXT_ADMIN_TOKEN or the one the configuration names."

/** Everything `bext` can do. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: "Start the server",
    usage: "[--config FILE | --static DIR | --upstream URL] [--listen ADDRESS] [--processes N] [--watch]",
    options: {
      config,
      static: { type: "string", value: "DIR", description: "Serve the files of a folder, without a configuration" },
      upstream: { type: "string", value: "URL", description: "Stand in front of an app, without a configuration" },
      listen: {
        type: "string",
        value: "ADDRESS",
        description: 'With --static or --upstream: where to listen, "ADDRESS:PORT" or ":PORT". Default: 127.0.0.1:3000',
      },
      processes: {
        type: "string",
        value: "N",
        description: "Serving processes, or auto: one for each CPU. Instead of server.processes",
      },
      watch: { type: "boolean", description: "Reload when the configuration or a plugin changes" },
      "print-stack": { type: "boolean", description: "Print what a request passes, in order, and end" },
    },
    words: 0,
    wordHint: (word) =>
      word.includes("://")
        ? `did you mean --upstream ${word}?`
        : word.endsWith(".toml")
          ? `did you mean --config ${word}?`
          : `did you mean --static ${word}?`,
    details: [
      "The environment variable PORT replaces the port. SIGTERM and SIGINT finish the requests in flight and stop; a second\none stops at once. SIGHUP reads the configuration and the plugins again.",
    ],
    examples: [
      ["bext serve", "with the bext.config.toml of this folder"],
      ["bext serve --static public", "the files in ./public on http://127.0.0.1:3000"],
      ["bext serve --upstream http://127.0.0.1:4000", "in front of an app"],
      ["PORT=8080 bext serve --config site.toml", "another file, another port"],
    ],
    load: async () => (await import("./serve.ts")).serve,
  },
  dev: {
    summary: "Serve, and take over every change at once",
    usage: "[--config FILE]",
    options: { config },
    words: 0,
    wordHint: (word) => `did you mean --config ${word}?`,
    details: [
      "Watches the configuration and the plugins. A change that is right serves the next request; one that is not is shown\nwith its place, and the version before goes on serving. Plugin folders inside the project have every permission they\nask for, which the log says; `bext serve` wants a grant for each.",
    ],
    examples: [
      ["bext dev", "with the bext.config.toml of this folder"],
      ["PORT=8080 bext dev", "another port"],
    ],
    load: async () => (await import("./dev.ts")).dev,
  },
  init: {
    summary: "Write a bext.config.toml for a folder",
    usage: "[FOLDER]",
    options: {},
    words: 1,
    details: [
      "Looks at what the folder holds (public/ or static/, a package.json with a start script) and writes a commented\nconfiguration that fits. Never overwrites one.",
    ],
    examples: [
      ["bext init", "for this folder"],
      ["bext init my-site", "for another"],
    ],
    load: async () => (await import("./init.ts")).init,
  },
  status: {
    summary: "Show what the running server does",
    usage: "[--json] [--config FILE | --admin URL]",
    options: { ...running, json },
    words: 0,
    wordHint: () => "it shows all plugins; --json has everything about each",
    details: [
      `PLUGINS is the memory of a process's plugins, DELAY how late its thread came to its work, on average over the last
second. RUNS is where calls of a plugin run: inline in the thread that serves, worker in its lane, mixed when processes
differ. P50 and P99 are times of calls, waits included. CRASHES and WS (open websockets) are shown when there are any.`,
      ASKS_SERVER,
    ],
    examples: [
      ["bext status", ""],
      ["bext status --admin http://10.0.0.5:9100", "of another machine"],
    ],
    load: async () => (await import("./status.ts")).status,
  },
  reload: {
    summary: "Take over the configuration and the plugins as they are now",
    usage: "[--json] [--config FILE | --admin URL]",
    options: { ...running, json },
    words: 0,
    wordHint: () => "a reload takes the whole configuration; plugins that did not change go on as they are",
    details: [
      "No request fails: those in flight finish with what they began with. With a mistake in it, nothing changes, and the\nexit code is 1.",
      ASKS_SERVER,
    ],
    examples: [["bext check && bext reload", ""]],
    load: async () => (await import("./reload.ts")).reload,
  },
  logs: {
    summary: "Show the log of the running server",
    usage: "[-f] [--lines N] [--plugin NAME] [--json] [--config FILE | --admin URL]",
    options: {
      ...running,
      follow: { type: "boolean", short: "f", description: "Go on with further lines until Ctrl-C" },
      lines: { type: "string", value: "N", description: "How many to begin with, 0 to 1000. Default: 100" },
      plugin: { type: "string", value: "NAME", description: "Only what concerns this plugin" },
      json: { type: "boolean", description: "JSON lines on a terminal too; elsewhere they are the default" },
    },
    words: 0,
    wordHint: (word) => `did you mean --plugin ${word}?`,
    details: ["The server keeps its last 1000 lines for this; whatever collects its output has them all.", ASKS_SERVER],
    examples: [
      ["bext logs -f", ""],
      ["bext logs --lines 1000 --plugin geo", ""],
    ],
    load: async () => (await import("./logs.ts")).logs,
  },
  "plugin install": {
    summary: "Add a plugin that comes with bext to the configuration",
    usage: "NAME [--yes] [--dry-run] [--config FILE]",
    options: {
      config,
      yes: { type: "boolean", description: "Grant what the plugin asks for, without asking" },
      "dry-run": { type: "boolean", description: "Print what would be added, change nothing" },
    },
    words: 1,
    details: [
      "Adds [plugins.NAME] with its settings at their defaults, and a grant when it asks for permissions and you allow them.\nEverything else in the file stays as it is. The result is checked before it is written.",
    ],
    examples: [
      ["bext plugin install security-headers", ""],
      ["bext plugin install webhook-verify --yes", "with the permissions it asks for"],
      ["bext plugin list", "shows the names"],
    ],
    load: async () => (await import("./plugin-install.ts")).pluginInstall,
  },
  "plugin list": {
    summary: "Show the installed plugins, and what else comes with bext",
    usage: "[--json] [--config FILE]",
    options: { config, json: { type: "boolean", description: "Print JSON" } },
    words: 0,
    details: [
      "Reads the configuration and the manifests; nothing of the plugins runs. `bext check` loads them as well.",
    ],
    examples: [["bext plugin list", ""]],
    load: async () => (await import("./plugin-list.ts")).pluginList,
  },
  "plugin init": {
    summary: "Write a new plugin, with a test that passes",
    usage: "NAME [--language LANGUAGE] [--dir FOLDER] [--yes]",
    options: {
      language: {
        type: "string",
        value: "LANGUAGE",
        description: "ts (the default), js; compiled: rust, go, c, assemblyscript; as a process: python, ruby, shell",
      },
      dir: {
        type: "string",
        value: "FOLDER",
        description: "Default: plugins/NAME beside a bext.config.toml, otherwise NAME",
      },
      yes: { type: "boolean", description: "Take the defaults for what is not given, without asking" },
    },
    words: 1,
    details: [
      "Writes the manifest, the code, a test, a README and settings for editors. Never overwrites a file. A plugin in a\ncompiled language carries the SDK of its language; its README has the command that builds it. One in Python, Ruby or\nshell runs as a process in a jail.",
    ],
    examples: [
      ["bext plugin init hello", ""],
      ["bext plugin init hello --language rust", ""],
      ["bext plugin init hello --language python", ""],
      ["bext plugin init hello --language js --dir ext/hello", ""],
    ],
    load: async () => (await import("./plugin-init.ts")).pluginInit,
  },
  "plugin grant": {
    summary: "Show what a plugin asks for beyond its grant, and allow it",
    usage: "NAME [--yes] [--config FILE]",
    options: { config, yes: { type: "boolean", description: "Allow it without asking" } },
    words: 1,
    details: [
      "Writes [plugins.NAME.grant]; everything else in the file stays as it is. A server that runs with this configuration is\nreloaded.",
    ],
    examples: [["bext plugin grant payments", ""]],
    load: async () => (await import("./plugin-grant.ts")).pluginGrant,
  },
  "plugin quarantine": {
    summary: "Take a plugin out of service until it is released",
    usage: "NAME --reason TEXT [--json] [--config FILE | --admin URL]",
    options: {
      ...running,
      reason: { type: "string", value: "TEXT", description: "Why, for whoever looks next; at most 500 characters" },
      json,
    },
    words: 1,
    details: [
      "At once and in all processes, also after a reload or a restart. Its calls meet its on_error: with closed, requests it\nwould have seen are answered 503; with open they go on without it.",
      ASKS_SERVER,
    ],
    examples: [['bext plugin quarantine geo --reason "wrong countries since 1.3"', ""]],
    load: async () => (await import("./plugin-quarantine.ts")).pluginQuarantine,
  },
  "plugin release": {
    summary: "Put a plugin back into service",
    usage: "NAME [--json] [--config FILE | --admin URL]",
    options: { ...running, json },
    words: 1,
    details: ["Ends a quarantine, whether somebody or the server itself began it.", ASKS_SERVER],
    examples: [["bext plugin release geo", ""]],
    load: async () => (await import("./plugin-release.ts")).pluginRelease,
  },
  "queue list": {
    summary: "Show what every queue holds",
    usage: "[--json] [--config FILE]",
    options: { config, json: { type: "boolean", description: "Print JSON" } },
    words: 0,
    details: ["Reads the state beside the server, whether it runs or not."],
    examples: [["bext queue list", ""]],
    load: async () => (await import("./queue.ts")).queueList,
  },
  "queue show": {
    summary: "Show the oldest messages of a queue",
    usage: "NAME [--dead] [--json] [--config FILE]",
    options: {
      config,
      dead: { type: "boolean", description: "The dead letters instead, with the error each ended with" },
      json: { type: "boolean", description: "Print JSON, values as a whole" },
    },
    words: 1,
    details: ["At most 100 of them."],
    examples: [["bext queue show mail --dead", ""]],
    load: async () => (await import("./queue.ts")).queueShow,
  },
  "queue retry": {
    summary: "Deliver dead letters again",
    usage: "NAME ID|--all [--json] [--config FILE]",
    options: {
      config,
      all: { type: "boolean", description: "All dead letters of the queue" },
      json: { type: "boolean", description: "Print JSON" },
    },
    words: 2,
    details: ["They keep their ids and begin again with the first attempt."],
    examples: [["bext queue retry mail --all", ""]],
    load: async () => (await import("./queue.ts")).queueRetry,
  },
  "queue purge": {
    summary: "Remove the messages of a queue for good",
    usage: "NAME [--dead] [--yes] [--json] [--config FILE]",
    options: {
      config,
      dead: { type: "boolean", description: "The dead letters instead" },
      yes: { type: "boolean", description: "Do not ask" },
      json: { type: "boolean", description: "Print JSON" },
    },
    words: 1,
    details: ["Messages pushed meanwhile stay. A handler that is at work goes on; nothing is delivered again."],
    examples: [
      ["bext queue purge mail", ""],
      ["bext queue purge mail --dead --yes", ""],
    ],
    load: async () => (await import("./queue.ts")).queuePurge,
  },
  check: {
    summary: "Check the configuration and every plugin without starting",
    usage: "[--config FILE]",
    options: { config },
    words: 0,
    wordHint: (word) => `did you mean --config ${word}?`,
    details: [
      "Reports all mistakes at once, with file, line and column. Plugins are loaded in their sandbox, so that their code and\nhooks are checked as well; nothing listens, and no start hook runs.",
    ],
    examples: [["bext check", "exit code 0 when everything is right, 1 otherwise"]],
    load: async () => (await import("./check.ts")).check,
  },
  explain: {
    summary: "Explain an error code",
    usage: "[CODE]",
    options: {},
    words: 1,
    details: ["Without a code: the list of all."],
    examples: [["bext explain E_LIMIT_CPU", ""]],
    load: async () => (await import("./explain.ts")).explain,
  },
  doctor: {
    summary: "Show what this machine offers",
    usage: "",
    options: {},
    words: 0,
    details: [
      "Node.js, the sandboxes of this build, the database and the limits of the system, each tried out. Exit code 1 when\nsomething bext needs is missing.",
    ],
    examples: [["bext doctor", ""]],
    load: async () => (await import("./doctor.ts")).doctor,
  },
}
