// The chat: what people say, and what one says oneself.
import { find, make, setText } from "./dom";
import { append, timeNow } from "./list";

const list = find("chat");
const text = find<HTMLInputElement>("text");
const sendButton = find<HTMLButtonElement>("send");
const unsent = find("unsent");

// setUpChat has what is typed sent, and kept until it is.
export function setUpChat(send: (text: string) => Promise<void>): void {
  find("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = text.value;
    try {
      await send(said);
      if (text.value === said) text.value = "";
      setText(unsent, "");
    } catch (error) {
      setText(unsent, `Not sent: ${error instanceof Error ? error.message : error}`);
    }
  });
}

// openChat and closeChat say whether there is anybody to talk to. A connection
// that is coming back is no reason to take the text from somebody who types.
export function openChat(): void {
  text.disabled = sendButton.disabled = false;
}

export function closeChat(): void {
  text.disabled = sendButton.disabled = true;
  setText(unsent, "");
}

export function focusChat(): void {
  text.focus();
}

export function showMessage(sender: string, said: string, mine: boolean): void {
  const entry = make("li", "", mine ? "mine" : "");
  entry.append(make("b", sender), timeNow(), make("span", said));
  append(list, entry);
}

// showRemark shows what nobody has said.
export function showRemark(remark: string): void {
  const entry = make("li", "", "remark");
  entry.append(make("span", remark), timeNow());
  append(list, entry);
}
