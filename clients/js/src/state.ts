// What a connection can be doing, and why it fails.

export type State =
  | { is: "idle" } // nobody has asked for a connection, or whoever did has ended it
  | { is: "connecting"; server: string }
  | { is: "connected"; server: string; transport: string; encoding: string }
  | { is: "retrying"; server: string; at: number; lost: boolean; failure: Failure } // at: when the next try begins, in ms since 1970
  | { is: "closed"; failure: Failure }; // and nothing will be tried again

export interface Failure {
  summary: string;
  advice: string;
  field?: Field; // what to change in the form
  kind: "passing" | "address" | "refusal"; // worth another try; not with this address; not with anything
}

export type Field = "name" | "server" | "transport" | "encoding";
