// Asks the server. Requests that change something repeat the token that was handed out at the log-in.

export class ApiError extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  // *loggedOut* is called when the session is over.
  constructor(loggedOut) {
    this.loggedOut = loggedOut;
    this.csrf = "";
  }

  get(path) { return this.#ask("GET", path); }

  send(method, path, body, headers = {}) {
    return this.#ask(method, path, body, { "Content-Type": "application/json", "X-CSRF-Token": this.csrf, ...headers });
  }

  async #ask(method, path, body, headers) {
    let answer;
    try {
      answer = await fetch(`/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body), credentials: "same-origin" });
    } catch {
      const hint = method === "GET" ? "" : "; nobody knows whether it was done: look before trying again";
      throw new ApiError(0, "no_connection", `the server does not answer${hint}`);
    }
    let told = null;
    try { told = await answer.json(); } catch { /* said below */ }
    if (answer.ok && told !== null) return told;
    const { code = "unreadable", text = `the server answered ${answer.status} with something that is no JSON` } = told?.error ?? {};
    if (answer.status === 401 && path !== "login") this.loggedOut(text);
    throw new ApiError(answer.status, code, text);
  }
}

export const part = encodeURIComponent;

// Works without a secure context, too, which crypto.randomUUID does not.
export const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
