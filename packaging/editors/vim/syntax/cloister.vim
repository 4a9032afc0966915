" SPDX-License-Identifier: MIT
" Policies of cloister; docs/POLICY.md has their grammar. A word at the beginning of a line says what the line is.
if exists('b:current_syntax')
  finish
endif
syntax case match

syntax match cloisterNumber   /\%(^\|[^a-zA-Z0-9_$]\)\@1<=\%(0x[0-9a-f]\+\|\d\+\)\ze\%([^a-zA-Z0-9_]\|$\)/
syntax match cloisterConstant /\%(^\|[^a-zA-Z0-9_$]\)\@1<=[A-Z][A-Z0-9_]*/
syntax match cloisterParam    /\$[a-z][a-z0-9_-]*/
syntax match cloisterOperator /\s\@1<=\%([=!]=\|[<>]=\)\%(32\)\=\ze\s/
syntax match cloisterOperator /\s\@1<=\%(&\%(32\)\=\|in\%(32\)\=\)\ze\s/
syntax match cloisterOperator /[|+]\|[a-z0-9_]\@1<==\ze[^=]/
syntax match cloisterAny      /\s\@1<=any\ze\%(\s\|$\)/

syntax match cloisterStatement /^\s*\%(policy\|syntax\|under\|at\|const\)\ze\s/
syntax match cloisterStatement /^\s*param\ze\s/ nextgroup=cloisterTypedParam skipwhite
syntax match cloisterStatement /^\s*arch\ze\s/ nextgroup=cloisterAbi skipwhite
syntax match cloisterStatement /^\s*test\ze\s/ nextgroup=cloisterAction skipwhite
syntax match cloisterStatement /^\s*else\ze\s/ nextgroup=cloisterElse skipwhite
syntax match cloisterRule      /^\s*\%(allow\|log\|notify\|kill-thread\|kill-process\)\ze\s/ nextgroup=cloisterCall skipwhite
syntax match cloisterRule      /^\s*\%(errno\|trap\|trace\)\ze\s/ nextgroup=cloisterCode,cloisterCall skipwhite

syntax match cloisterTypedParam /\$[a-z][a-z0-9_-]*/ contained nextgroup=cloisterType skipwhite
syntax match cloisterType      /\%(addr\|size\)\ze\s/ contained
syntax match cloisterAbi       /\%(x86_64\|aarch64\|i386\|x32\)\ze\%(\s\|$\)/ contained nextgroup=cloisterAbi skipwhite
syntax match cloisterAbi       /\%(x86_64\|aarch64\|i386\|x32\)\ze:/ contained
" In a test a number may stand for a call. Behind errno, trap and trace the first number is their code, which is defined later and wins.
syntax match cloisterNumberedCall /\%(\%(x86_64\|aarch64\|i386\|x32\):\)\=\%(0x[0-9a-f]\+\|\d\+\)\ze\%(\s\|$\)/ contained contains=cloisterAbi
syntax match cloisterAction    /\%(allow\|log\|notify\|kill\|kill-thread\|kill-process\)\ze\%(\s\|$\)/ contained nextgroup=cloisterNumberedCall,cloisterCall skipwhite
syntax match cloisterAction    /\%(errno\|trap\|trace\)\ze\%(\s\|$\)/ contained nextgroup=cloisterCode,cloisterNumberedCall,cloisterCall skipwhite
syntax match cloisterCode      /\%(E[A-Z0-9]\+\|0x[0-9a-f]\+\|\d\+\)\ze\%(\s\|$\)/ contained nextgroup=cloisterNumberedCall,cloisterCall skipwhite
syntax match cloisterElse      /\%(allow\|log\|notify\|kill-thread\|kill-process\)\ze\%(\s\|$\)/ contained nextgroup=cloisterElseAbi skipwhite
syntax match cloisterElse      /\%(errno\|trap\|trace\)\ze\%(\s\|$\)/ contained nextgroup=cloisterElseCode,cloisterElseAbi skipwhite
syntax match cloisterElseCode  /\%(E[A-Z0-9]\+\|0x[0-9a-f]\+\|\d\+\)\ze\%(\s\|$\)/ contained nextgroup=cloisterElseAbi skipwhite
syntax match cloisterElseAbi   /abi\ze\s/ contained nextgroup=cloisterElse skipwhite
syntax match cloisterCall      /\%(\%(x86_64\|aarch64\|i386\|x32\):\)\=\%(syscall\s\+\%(0x[0-9a-f]\+\|\d\+\)\%(\.\.\%(0x[0-9a-f]\+\|\d\+\)\)\=\|[a-z_][a-z0-9_]*\)\ze\%(\s\|$\)/ contained contains=cloisterAbi

" Defined last, they win: nothing inside them is anything else. A reason begins at the first colon that stands alone.
syntax match cloisterReason    /\%(^\|\s\)\@1<=:\%(\s.*\)\=$/
syntax match cloisterComment   /^\s*#.*$/ contains=cloisterTodo
syntax keyword cloisterTodo TODO FIXME XXX contained

highlight default link cloisterStatement Statement
highlight default link cloisterRule Statement
highlight default link cloisterAction Statement
highlight default link cloisterCode Constant
highlight default link cloisterCall Function
highlight default link cloisterNumberedCall Function
highlight default link cloisterElse Statement
highlight default link cloisterElseCode Constant
highlight default link cloisterElseAbi Statement
highlight default link cloisterAbi Type
highlight default link cloisterType Type
highlight default link cloisterAny Special
highlight default link cloisterOperator Operator
highlight default link cloisterParam Identifier
highlight default link cloisterTypedParam Identifier
highlight default link cloisterConstant Constant
highlight default link cloisterNumber Number
highlight default link cloisterReason String
highlight default link cloisterComment Comment
highlight default link cloisterTodo Todo

let b:current_syntax = 'cloister'
