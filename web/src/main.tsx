import { render } from "solid-js/web";
import { Page } from "./page";
import "./style.css";

const root = document.getElementById("root");
if (root) render(() => <Page />, root);
