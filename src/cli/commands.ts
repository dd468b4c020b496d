export interface Option {
  readonly type: "string" | "boolean"
  /** What a text option takes, e.g. FILE. */
  readonly value?: string
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

/** Everything `bext` can do. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: "Start the server",
    usage: "[--config FILE | --static DIR | --upstream URL] [--listen ADDRESS] [--print-stack]",
    options: {
      config,
      static: { type: "string", value: "DIR", description: "Serve the files of a folder, without a configuration" },
      upstream: { type: "string", value: "URL", description: "Stand in front of an app, without a configuration" },
      listen: {
        type: "string",
        value: "ADDRESS",
        description: 'With --static or --upstream: where to listen, "ADDRESS:PORT" or ":PORT". Default: 127.0.0.1:3000',
      },
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
      "The environment variable PORT replaces the port. SIGTERM and SIGINT finish the requests in flight and stop; a second\none stops at once.",
    ],
    examples: [
      ["bext serve", "with the bext.config.toml of this folder"],
      ["bext serve --static public", "the files in ./public on http://127.0.0.1:3000"],
      ["bext serve --upstream http://127.0.0.1:4000", "in front of an app"],
      ["PORT=8080 bext serve --config site.toml", "another file, another port"],
    ],
    load: async () => (await import("./serve.ts")).serve,
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
    summary: "Show the plugins of the configuration, and what else comes with bext",
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
    usage: "NAME [--language ts|js] [--dir FOLDER] [--yes]",
    options: {
      language: { type: "string", value: "LANGUAGE", description: "ts (TypeScript, the default) or js (JavaScript)" },
      dir: {
        type: "string",
        value: "FOLDER",
        description: "Default: plugins/NAME beside a bext.config.toml, otherwise NAME",
      },
      yes: { type: "boolean", description: "Take the defaults for what is not given, without asking" },
    },
    words: 1,
    details: ["Writes the manifest, the code, a test, a README and settings for editors. Never overwrites a file."],
    examples: [
      ["bext plugin init hello", ""],
      ["bext plugin init hello --language js --dir ext/hello", ""],
    ],
    load: async () => (await import("./plugin-init.ts")).pluginInit,
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
